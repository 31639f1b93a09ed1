"""How many threads torch computes on."""


def use_threads(count: int) -> None:
    """How many threads torch computes on in this process, from now on.

    Sums of products are ordered by it, so that workers of one thread each give the same bytes
    however many there are.
    """
    import torch  # a second to import, which who only passes by need not wait for

    torch.set_num_threads(count)

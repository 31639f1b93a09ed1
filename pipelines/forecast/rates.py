"""How fast things go: the measured speeds that a forecast starts from.

Measured on 2026-11-21 on one core of a Zen 4 (AVX-512, bf16, VNNI), where nothing else is said.
What is of 2026-11-25 is of a CPU whose products of bf16 and 8 bits are twice as fast.
"""

from dataclasses import dataclass, replace

#: What numpy's product of float32 does on a core of the machine that these speeds are of
#: (`shardrank.kernels.pace`).
PRODUCTS_PER_CORE_S = 100e9


@dataclass(frozen=True)
class Rates:
    """Speeds of one core, one GPU or the driver; the unit is in the name.

    Attributes:
        tokens_per_core_s: a tokeniser of BERT's family, which remembers words: 28,975 passages of
            Wikipedia, 4.5 million tokens, in 1.9 s (2026-11-26). Others do .9 million.
        cut_passages_per_core_s: reading, cutting and encoding the same passages, beside the
            tokeniser, in .95 s, and a fifth for hashing and writing.
        scanned_bytes_per_core_s: reading and checking source text; the same run's scan.
        compared_keys_per_core_s: 17,721 ids in .02 s, in the first run of `tests.bench.nights`.
        bf16_flops_per_core_s: of a model, counted as 2 for each parameter and token: 50,000
            passages of 75 tokens in 265 s of embed on two cores, less 5 for the actors' start
            (2026-11-26). A token of a longer passage takes more.
        fp32_flops_per_core_s, int8_flops_per_core_s: that of bf16, by the documents that the
            benchmark embeds in a second: 97, 184 and 292 in fp32, bf16 and int8.
        maxsim_flops_per_core_s: products of token vectors, 2 for each pair of components: .8 of
            numpy's, as on a core of an Emerald Rapids (134 of 165 GFLOP/s on 2026-11-29, of
            passages that no two queries share).
        written_numbers_per_core_s: of a language model's weights, which are all gone through for
            each token that it writes: SmolLM2-135M's 134.5 million in 50 ms, in fp32 (10.7 GB/s)
            and in bf16, on a core that multiplies bf16 no faster (2026-11-29).
        gpu_flops_per_s, gpu_written_bytes_per_s: assumptions; no GPU was measured.
        int8_products_per_core_s: multiply-adds of list-major search, with the choice of lists,
            decoding and selection: 8,192 queries, 32 of 1,024 lists, 300,000 vectors of 384
            components in 48-byte codes, in .41 s on a core (2026-11-25), lists of one size
            supposed; those that are probed are larger.
        fp32_products_per_core_s: multiply-adds of faiss's exact search: 220 queries over 400,000
            vectors of 384 components.
        codebook_components_per_core_s: components of the sample that PQ is trained on: 65,536
            vectors of 384 in 5.6 s (2026-11-25), in 25 rounds, of which 10 are made now.
        refined_pairs_per_core_s: `refine` of 819,200 pairs of 384 components, ordering included.
        merged_hits_per_core_s: `topk.merge` of two million hits of as many documents.
        collated_rows_per_core_s: the demo's 24,000 rankings in .08 s.
        delivered_rows_per_s: `to_trec` of 200,000 rankings, in one process.
        part_bytes_per_core_s: a part's two files of 22 MB checked and decoded: 380 MB/s, less a
            fifth for what else a worker does with them.
        read_rows_per_core_s: hits, keys or scores checked and decoded; two million hits.
        unit_step_s: what the driver spends on a unit in each step; 7 ms a block, of one step.
        spec_bytes_per_s: naming and writing a unit's spec as JSON in the driver.
        request_s: until a storage answers; an assumption for S3.
    """

    tokens_per_core_s: float = 2.3e6
    cut_passages_per_core_s: float = 25_000
    scanned_bytes_per_core_s: float = 60e6
    compared_keys_per_core_s: float = 0.9e6
    bf16_flops_per_core_s: float = 155e9
    fp32_flops_per_core_s: float = 82e9
    int8_flops_per_core_s: float = 246e9
    maxsim_flops_per_core_s: float = 80e9
    written_numbers_per_core_s: float = 2.7e9
    gpu_flops_per_s: float = 20e12
    gpu_written_bytes_per_s: float = 1e12
    int8_products_per_core_s: float = 80e9
    fp32_products_per_core_s: float = 34e9
    codebook_components_per_core_s: float = 11e6
    refined_pairs_per_core_s: float = 0.9e6
    merged_hits_per_core_s: float = 0.13e6
    collated_rows_per_core_s: float = 0.3e6
    delivered_rows_per_s: float = 1.2e6
    part_bytes_per_core_s: float = 300e6
    read_rows_per_core_s: float = 3.5e6
    unit_step_s: float = 0.007
    spec_bytes_per_s: float = 80e6
    request_s: float = 0.02

    def flops_per_s(self, dtype: str, device: str) -> float:
        """Of a model on one worker; fp16, which a CPU computes slowly, counts as fp32 there."""
        if device != "cpu":
            return self.gpu_flops_per_s
        special = {"bf16": self.bf16_flops_per_core_s, "int8": self.int8_flops_per_core_s}
        return special.get(dtype, self.fp32_flops_per_core_s)

    def numbers_per_s(self, number_bytes: int, device: str) -> float:
        """Of weights that a worker goes through for each token that it writes."""
        if device != "cpu":
            return self.gpu_written_bytes_per_s / number_bytes
        return self.written_numbers_per_core_s

    def on(self, flops_per_core_s: float) -> "Rates":
        """Those of a machine whose cores multiply so fast: what models do scales with it."""
        faster = flops_per_core_s / PRODUCTS_PER_CORE_S
        return replace(
            self,
            bf16_flops_per_core_s=self.bf16_flops_per_core_s * faster,
            fp32_flops_per_core_s=self.fp32_flops_per_core_s * faster,
            int8_flops_per_core_s=self.int8_flops_per_core_s * faster,
            maxsim_flops_per_core_s=self.maxsim_flops_per_core_s * faster,
        )

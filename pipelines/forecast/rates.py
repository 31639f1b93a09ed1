"""How fast things go: the measured speeds that a forecast starts from.

Measured on 2026-11-21 on one core of a Zen 4 (AVX-512, bf16, VNNI), where nothing else is said.
What is of 2026-11-25 is of a CPU whose products of bf16 and 8 bits are twice as fast.
"""

from dataclasses import dataclass, replace

from shardrank.forecast.model import Model


@dataclass(frozen=True)
class Cpu:
    """A kind of CPU by one that was measured, in operations a second of a core.

    Attributes:
        products: of numpy's product of float32 (`shardrank.kernels.pace`).
        fp32, bf16, int8: of a model, counted as `Model.flops` does: by the documents that the
            benchmark `embed` embeds in a second.
    """

    products: float
    fp32: float
    bf16: float
    int8: float


#: 97, 184 and 292 documents of 40 tokens a second, of 904 million operations each (2026-11-26).
ZEN_4 = Cpu(products=100e9, fp32=88e9, bf16=166e9, int8=264e9)

#: VNNI, and bf16 in software: an Emerald Rapids as virtual machines show it, 142, 32.9 and 333
#: documents (2026-11-29). MPNet, DistilBERT and ModernBERT reach .95 to 1.3 of that, DeBERTa .7 to
#: .8, and Gemma .65.
VNNI = Cpu(products=165e9, fp32=130e9, bf16=30e9, int8=306e9)

#: The same without AVX-512: 65.2, 12.7 and 75.7 documents (2026-11-29).
AVX2 = Cpu(products=95e9, fp32=59e9, bf16=11.5e9, int8=68e9)


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
        bf16_flops_per_core_s, fp32_flops_per_core_s, int8_flops_per_core_s: of a model, see `Cpu`.
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
        exact_products_per_core_s: multiply-adds of exact search in 8 bits, with the bounds that
            they are compared with: 1,000 queries of 16,384 vectors of 384 in .035 s (2026-11-29,
            Zen 5). exact_pairs_per_core_s: of the pairs that it then scores, 227 a query in .03 s
            there; of both an Emerald Rapids does about half.
        code_products_per_core_s: multiply-adds of queries in 8 bits with binary codes: 1,650
            queries a second of 300,000 codes of 384 bits (2026-11-29).
        posting_rows_per_core_s: passages of an inverted index that a term of a query costs, and
            ranked_rows_per_core_s that a query does: 13,100 queries of 6 terms and 6,700 of 30 a
            second over 200,000 passages of 60 terms, most of which blocks' maxima pass over
            (2026-11-29).
        centroid_tokens_per_core_s: a candidate's token's product with one of a query's, by
            centroids.
        counted_tokens_per_core_s: tokens of a text whose words are counted.
        inverted_terms_per_core_s: terms of passages that are put into posting lists, or counted.
        decoded_components_per_core_s: of token vectors that are read as fp16 or decoded of codes.
        scattered_numbers_per_core_s: numbers that are added or moved one by one.
        codebook_components_per_core_s: components of the sample that PQ is trained on: 65,536
            vectors of 384 in 5.6 s (2026-11-25), in 25 rounds, of which 10 are made now.
        guided_products_per_core_s: multiply-adds of float64 in a guide's steps: 25 of them over 100
            documents of 384 components in .52 ms, over 40 in .36 ms (2026-11-30).
        refined_pairs_per_core_s: `refine` of 819,200 pairs of 384 components, ordering included.
        merged_hits_per_core_s: `topk.merge` of two million hits of as many documents.
        fused_hits_per_core_s: hits of several retrievers that become one list: 18,000 in .02 s.
        collated_rows_per_core_s: the demo's 24,000 rankings in .08 s.
        delivered_rows_per_s: `to_trec` of 200,000 rankings, in one process.
        part_bytes_per_core_s: a part's two files of 22 MB checked and decoded: 380 MB/s, less a
            fifth for what else a worker does with them.
        read_rows_per_core_s: hits, keys or scores checked and decoded; two million hits.
        unit_step_s: what the driver spends on a unit in each step; 7 ms a block, of one step.
        spec_bytes_per_s: naming and writing a unit's spec as JSON in the driver.
        unit_s: of a core for any unit, whatever it holds: checks, files and a marker.
        load_s: of a core until a worker has read a small model or a tokeniser: all-MiniLM-L6-v2's,
            .4 s, and wordllama's likewise (2026-11-30).
        request_s: until a storage answers; an assumption for S3.
    """

    tokens_per_core_s: float = 2.3e6
    cut_passages_per_core_s: float = 25_000
    scanned_bytes_per_core_s: float = 60e6
    compared_keys_per_core_s: float = 0.9e6
    bf16_flops_per_core_s: float = ZEN_4.bf16
    fp32_flops_per_core_s: float = ZEN_4.fp32
    int8_flops_per_core_s: float = ZEN_4.int8
    maxsim_flops_per_core_s: float = 80e9
    written_numbers_per_core_s: float = 2.7e9
    gpu_flops_per_s: float = 20e12
    gpu_written_bytes_per_s: float = 1e12
    int8_products_per_core_s: float = 80e9
    fp32_products_per_core_s: float = 34e9
    exact_products_per_core_s: float = 120e9
    exact_pairs_per_core_s: float = 4e6
    code_products_per_core_s: float = 190e9
    posting_rows_per_core_s: float = 66e9
    ranked_rows_per_core_s: float = 3.5e9
    centroid_tokens_per_core_s: float = 4e9
    counted_tokens_per_core_s: float = 3e6
    inverted_terms_per_core_s: float = 3e6
    decoded_components_per_core_s: float = 0.5e9
    scattered_numbers_per_core_s: float = 0.5e9
    codebook_components_per_core_s: float = 11e6
    guided_products_per_core_s: float = 3e9
    refined_pairs_per_core_s: float = 0.9e6
    merged_hits_per_core_s: float = 0.13e6
    fused_hits_per_core_s: float = 0.7e6
    collated_rows_per_core_s: float = 0.3e6
    delivered_rows_per_s: float = 1.2e6
    part_bytes_per_core_s: float = 300e6
    read_rows_per_core_s: float = 3.5e6
    unit_step_s: float = 0.007
    spec_bytes_per_s: float = 80e6
    unit_s: float = 0.01
    load_s: float = 0.4
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

    def look_up_s(self, model: Model, tokens: float, inputs: float = 1.0) -> float:
        """Seconds of a core for the rows of so many inputs' tokens, where a table is all there is
        of a model."""
        return inputs * tokens * model.looked_up / self.scattered_numbers_per_core_s

    def on(self, cpu: Cpu, products_per_core_s: float) -> "Rates":
        """Those of a machine of such a kind, whose cores make so many products a second: what
        models do scales with them."""
        faster = products_per_core_s / cpu.products
        return replace(
            self,
            bf16_flops_per_core_s=cpu.bf16 * faster,
            fp32_flops_per_core_s=cpu.fp32 * faster,
            int8_flops_per_core_s=cpu.int8 * faster,
            maxsim_flops_per_core_s=0.8 * products_per_core_s,
        )

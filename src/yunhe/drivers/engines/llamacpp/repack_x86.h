// Interleaved kernels for Q4_1 and Q8_0 weights on x86 with AVX-512 VNNI.
//
// Sixteen rows of the weights lie together: of each block of 32 columns first the scales (and minima) of the sixteen
// rows, then, for each group of four columns, four bytes of every row in turn. One 512-bit register then holds four
// columns of sixteen rows, and one VPDPBUSD multiplies them with four activations that are broadcast to all lanes.
//
// Q4_1 is w = d q + m with q in 0..15, so with activations a = e x, of which x is an 8-bit integer,
//   sum w a = d e sum(q x) + m e sum(x),
// where q is the unsigned and x the signed operand of VPDPBUSD as they are. Q8_0 has signed weights, so the activations
// become unsigned by adding 128, and 128 sum(q) is taken off again.
//
// A tensor takes exactly the bytes that it took before, so it is repacked in place.

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#define YUNHE_REPACK 1

#include <immintrin.h>

namespace {

constexpr int YUNHE_ROWS = 16;
// Rows of activations at once; more would not fit into the registers.
constexpr int YUNHE_ACTS = 4;

struct yunhe_q4_1x16 {
    ggml_half d[YUNHE_ROWS];
    ggml_half m[YUNHE_ROWS];
    uint8_t   qs[QK4_1 / 2 * YUNHE_ROWS];
};
static_assert(sizeof(yunhe_q4_1x16) == YUNHE_ROWS * sizeof(block_q4_1), "sixteen blocks take what they took");

struct yunhe_q8_0x16 {
    ggml_half d[YUNHE_ROWS];
    int8_t    qs[QK8_0 * YUNHE_ROWS];
};
static_assert(sizeof(yunhe_q8_0x16) == YUNHE_ROWS * sizeof(block_q8_0), "sixteen blocks take what they took");

inline __m512 yunhe_halves(const ggml_half * from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) from));
}

// Four bytes of activations in every lane.
inline __m512i yunhe_broadcast(const int8_t * from) {
    int32_t four;
    memcpy(&four, from, sizeof(four));
    return _mm512_set1_epi32(four);
}

inline int yunhe_sum(const int8_t * from, int count) {
    int sum = 0;
    for (int i = 0; i < count; i++) {
        sum += from[i];
    }
    return sum;
}

// Where four activations lie: of one row as it is, of four rows interleaved by eight bytes.
struct yunhe_one {
    using block = block_q8_0;
    static constexpr int rows = 1;
    static inline const int8_t * four(const block & b, int, int group) { return b.qs + 4 * group; }
    static inline float scale(const block & b, int) { return GGML_CPU_FP16_TO_FP32(b.d); }
    static inline int sum(const block & b, int) { return yunhe_sum(b.qs, QK8_0); }
};

struct yunhe_four {
    using block = block_q8_0x4;
    static constexpr int rows = YUNHE_ACTS;
    static inline const int8_t * four(const block & b, int row, int group) {
        return b.qs + group / 2 * 32 + row * 8 + group % 2 * 4;
    }
    static inline float scale(const block & b, int row) { return GGML_CPU_FP16_TO_FP32(b.d[row]); }
    static inline int sum(const block & b, int row) {
        return yunhe_sum(b.qs + row * 8, 8) + yunhe_sum(b.qs + 32 + row * 8, 8) +
               yunhe_sum(b.qs + 64 + row * 8, 8) + yunhe_sum(b.qs + 96 + row * 8, 8);
    }
};

// Scale and scaled sum of each row and block of activations: every sixteen rows of weights need them.
template <typename A> struct yunhe_factors {
    std::vector<float> scale, offset;

    yunhe_factors(const typename A::block * acts, int blocks) : scale(blocks * A::rows), offset(blocks * A::rows) {
        for (int l = 0; l < blocks; l++) {
            for (int row = 0; row < A::rows; row++) {
                scale[l * A::rows + row]  = A::scale(acts[l], row);
                offset[l * A::rows + row] = scale[l * A::rows + row] * A::sum(acts[l], row);
            }
        }
    }
};

template <typename A>
void yunhe_q4_1(int n, float * s, size_t bs, const void * vx, const typename A::block * acts, int nc) {
    const int               blocks = n / QK4_1;
    const yunhe_factors<A>  factors(acts, blocks);
    const __m512i           low = _mm512_set1_epi8(0x0F);
    for (int x = 0; x < nc / YUNHE_ROWS; x++) {
        const yunhe_q4_1x16 * b = (const yunhe_q4_1x16 *) vx + (size_t) x * blocks;
        __m512 total[A::rows];
        for (int row = 0; row < A::rows; row++) {
            total[row] = _mm512_setzero_ps();
        }
        for (int l = 0; l < blocks; l++) {
            __m512i even[A::rows], odd[A::rows];
            for (int row = 0; row < A::rows; row++) {
                even[row] = odd[row] = _mm512_setzero_si512();
            }
            for (int g = 0; g < 4; g++) {
                const __m512i both = _mm512_loadu_si512(b[l].qs + 64 * g);
                const __m512i w0   = _mm512_and_si512(both, low);
                const __m512i w1   = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
                for (int row = 0; row < A::rows; row++) {
                    even[row] = _mm512_dpbusd_epi32(even[row], w0, yunhe_broadcast(A::four(acts[l], row, g)));
                    odd[row]  = _mm512_dpbusd_epi32(odd[row], w1, yunhe_broadcast(A::four(acts[l], row, 4 + g)));
                }
            }
            const __m512 d = yunhe_halves(b[l].d);
            const __m512 m = yunhe_halves(b[l].m);
            for (int row = 0; row < A::rows; row++) {
                const __m512 products = _mm512_cvtepi32_ps(_mm512_add_epi32(even[row], odd[row]));
                const __m512 scale    = _mm512_mul_ps(d, _mm512_set1_ps(factors.scale[l * A::rows + row]));
                total[row] = _mm512_fmadd_ps(products, scale, total[row]);
                total[row] = _mm512_fmadd_ps(m, _mm512_set1_ps(factors.offset[l * A::rows + row]), total[row]);
            }
        }
        for (int row = 0; row < A::rows; row++) {
            _mm512_storeu_ps(s + row * bs + x * YUNHE_ROWS, total[row]);
        }
    }
}

template <typename A>
void yunhe_q8_0(int n, float * s, size_t bs, const void * vx, const typename A::block * acts, int nc) {
    const int               blocks = n / QK8_0;
    const yunhe_factors<A>  factors(acts, blocks);
    const __m512i           flip = _mm512_set1_epi8((char) 0x80);
    for (int x = 0; x < nc / YUNHE_ROWS; x++) {
        const yunhe_q8_0x16 * b = (const yunhe_q8_0x16 *) vx + (size_t) x * blocks;
        __m512 total[A::rows];
        for (int row = 0; row < A::rows; row++) {
            total[row] = _mm512_setzero_ps();
        }
        for (int l = 0; l < blocks; l++) {
            __m512i dots[A::rows], excess = _mm512_setzero_si512();
            for (int row = 0; row < A::rows; row++) {
                dots[row] = _mm512_setzero_si512();
            }
            for (int g = 0; g < 8; g++) {
                const __m512i w = _mm512_loadu_si512(b[l].qs + 64 * g);
                excess = _mm512_dpbusd_epi32(excess, flip, w);
                for (int row = 0; row < A::rows; row++) {
                    const __m512i a = _mm512_xor_si512(yunhe_broadcast(A::four(acts[l], row, g)), flip);
                    dots[row] = _mm512_dpbusd_epi32(dots[row], a, w);
                }
            }
            const __m512 d = yunhe_halves(b[l].d);
            for (int row = 0; row < A::rows; row++) {
                const __m512 products = _mm512_cvtepi32_ps(_mm512_sub_epi32(dots[row], excess));
                const __m512 scale    = _mm512_mul_ps(d, _mm512_set1_ps(factors.scale[l * A::rows + row]));
                total[row] = _mm512_fmadd_ps(products, scale, total[row]);
            }
        }
        for (int row = 0; row < A::rows; row++) {
            _mm512_storeu_ps(s + row * bs + x * YUNHE_ROWS, total[row]);
        }
    }
}

// Four bytes of every row in turn; ``bytes`` of quants in a block of one row.
template <typename From, typename To> void yunhe_interleave(const From * rows, size_t stride, To & to, int bytes) {
    for (int r = 0; r < YUNHE_ROWS; r++) {
        for (int g = 0; g < bytes / 4; g++) {
            memcpy((char *) to.qs + (g * YUNHE_ROWS + r) * 4, (const char *) rows[r * stride].qs + 4 * g, 4);
        }
    }
}

template <typename From, typename To, typename Scales>
int yunhe_repack(struct ggml_tensor * t, const void * data, size_t size, int bytes, Scales scales) {
    const int64_t rows = ggml_nrows(t), blocks = t->ne[0] / QK8_0;
    GGML_ASSERT(size == (size_t) (rows * blocks) * sizeof(From));
    if (t->ne[1] % YUNHE_ROWS != 0) {
        return -1;
    }
    const From * from = (const From *) data;
    To *         to   = (To *) t->data;
    for (int64_t row = 0; row < rows; row += YUNHE_ROWS, from += YUNHE_ROWS * blocks) {
        for (int64_t l = 0; l < blocks; l++, to++) {
            scales(from + l, blocks, *to);
            yunhe_interleave(from + l, blocks, *to, bytes);
        }
    }
    return 0;
}

}  // namespace

template <> int repack<block_q4_1, 8, 16>(struct ggml_tensor * t, const void * data, size_t size) {
    return yunhe_repack<block_q4_1, yunhe_q4_1x16>(
        t, data, size, QK4_1 / 2, [](const block_q4_1 * rows, size_t stride, yunhe_q4_1x16 & to) {
            for (int r = 0; r < YUNHE_ROWS; r++) {
                // A block begins with the two, whatever its members are called.
                memcpy(&to.d[r], (const char *) &rows[r * stride], sizeof(ggml_half));
                memcpy(&to.m[r], (const char *) &rows[r * stride] + sizeof(ggml_half), sizeof(ggml_half));
            }
        });
}

template <> int repack<block_q8_0, 8, 16>(struct ggml_tensor * t, const void * data, size_t size) {
    return yunhe_repack<block_q8_0, yunhe_q8_0x16>(
        t, data, size, QK8_0, [](const block_q8_0 * rows, size_t stride, yunhe_q8_0x16 & to) {
            for (int r = 0; r < YUNHE_ROWS; r++) {
                to.d[r] = rows[r * stride].d;
            }
        });
}

template <> void gemv<block_q4_1, 8, 16, GGML_TYPE_Q8_0>(int n, float * s, size_t bs, const void * vx, const void * vy, int nr, int nc) {
    yunhe_q4_1<yunhe_one>(n, s, bs, vx, (const block_q8_0 *) vy, nc);
    GGML_UNUSED(nr);
}

template <> void gemv<block_q8_0, 8, 16, GGML_TYPE_Q8_0>(int n, float * s, size_t bs, const void * vx, const void * vy, int nr, int nc) {
    yunhe_q8_0<yunhe_one>(n, s, bs, vx, (const block_q8_0 *) vy, nc);
    GGML_UNUSED(nr);
}

template <> void gemm<block_q4_1, 8, 16, GGML_TYPE_Q8_0>(int n, float * s, size_t bs, const void * vx, const void * vy, int nr, int nc) {
    for (int y = 0; y < nr / YUNHE_ACTS; y++) {
        yunhe_q4_1<yunhe_four>(n, s + y * YUNHE_ACTS * bs, bs, vx, (const block_q8_0x4 *) vy + (size_t) y * (n / QK8_0), nc);
    }
}

template <> void gemm<block_q8_0, 8, 16, GGML_TYPE_Q8_0>(int n, float * s, size_t bs, const void * vx, const void * vy, int nr, int nc) {
    for (int y = 0; y < nr / YUNHE_ACTS; y++) {
        yunhe_q8_0<yunhe_four>(n, s + y * YUNHE_ACTS * bs, bs, vx, (const block_q8_0x4 *) vy + (size_t) y * (n / QK8_0), nc);
    }
}

#endif

/*
 * What this CPU can do, without any library: instructions in a loop, a matrix product in blocks, and memory in turns.
 *
 *     cc -O3 -mavx512f -mprefer-vector-width=512 -pthread benchmarks/ceilings.c -o ceilings
 *
 * with -mavx2 -mfma instead, and -mavx512vnni, -mavxvnni, -mamx-tile -mamx-int8 besides, as /proc/cpuinfo has them:
 * -march=native goes by the model's number, which virtual machines make up.
 *
 *     ./ceilings fma     THREADS SECONDS          float32 multiply-adds in registers
 *     ./ceilings vnni    THREADS SECONDS          8-bit dot products in registers (AVX-512 VNNI or AVX-VNNI)
 *     ./ceilings amx     THREADS SECONDS          8-bit dot products in tiles (AMX)
 *     ./ceilings sgemm   THREADS SECONDS N        float32 product of N x N matrices, N a multiple of 96
 *     ./ceilings read    THREADS SECONDS BYTES    all threads together over BYTES
 *     ./ceilings dot     THREADS SECONDS BYTES    one half of BYTES by the other
 *     ./ceilings copy    THREADS SECONDS BYTES    half of BYTES to the other half
 *     ./ceilings triad   THREADS SECONDS BYTES    a = b + s * c, a third of BYTES each
 *
 * Prints what was done a second in each block of 2 ms or more, one line each: operations (a multiply-add is two), or
 * bytes read and written. Exits with 3 where the CPU has no such instruction.
 */
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_NS 2000000.0
#define NO_SUCH_INSTRUCTION 3

#if defined(__AVX512F__)
typedef __m512 vec;
#define LANES 16
#define ROWS 12
#define set1 _mm512_set1_ps
#define load _mm512_loadu_ps
#define store _mm512_storeu_ps
#define fmadd _mm512_fmadd_ps
#define add _mm512_add_ps
#elif defined(__AVX2__) && defined(__FMA__)
typedef __m256 vec;
#define LANES 8
#define ROWS 6
#define set1 _mm256_set1_ps
#define load _mm256_loadu_ps
#define store _mm256_storeu_ps
#define fmadd _mm256_fmadd_ps
#define add _mm256_add_ps
#else
#error "this CPU has neither AVX2 with FMA nor AVX-512"
#endif
#define COLUMNS (2 * LANES) /* of the block that stays in registers */
#define DEPTH 256           /* of the panels that stay in the first caches */
#define CHAINS 12           /* independent sums: as many as latency times throughput asks for, and more */

typedef struct {
    int index, threads, size;
    long repeats;
    float *a, *b, *c, *packed_a, *packed_b;
    size_t floats;
    volatile float sink;
} part;

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* As numpy has it, on huge pages where the set is large: with pages of 4 KiB it would be the TLB that is measured. */
#define HUGE (2u << 20)

static float *memory(size_t floats) {
    void *found = NULL;
    size_t page = floats * sizeof(float) >= 2 * HUGE ? HUGE : 4096;
    size_t bytes = (floats * sizeof(float) + page - 1) / page * page;
    if (posix_memalign(&found, page, bytes)) exit(1);
#ifdef MADV_HUGEPAGE
    if (page == HUGE) madvise(found, bytes, MADV_HUGEPAGE);
#endif
    for (size_t i = 0; i < bytes / sizeof(float); i++) ((float *)found)[i] = (float)(i % 7) * 0.125f;
    return found;
}

/* Arithmetic in registers ------------------------------------------------------------------------------------------ */

static double fma_work(part *p) {
    vec sums[CHAINS], factor = set1(0.999f), term = set1(0.001f);
    for (int i = 0; i < CHAINS; i++) sums[i] = set1((float)i);
    for (long n = 0; n < p->repeats; n++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sums[i] = fmadd(sums[i], factor, term);
    vec total = sums[0];
    for (int i = 1; i < CHAINS; i++) total = add(total, sums[i]);
    float out[LANES];
    store(out, total);
    p->sink = out[0];
    return 2.0 * LANES * CHAINS * (double)p->repeats;
}

#if (defined(__AVX512VNNI__) && defined(__AVX512F__)) || defined(__AVXVNNI__)
static double vnni_work(part *p) {
#if defined(__AVX512VNNI__)
    __m512i sums[CHAINS], x = _mm512_set1_epi8((char)(p->index + 3)), y = _mm512_set1_epi8(2);
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_set1_epi32(i);
    for (long n = 0; n < p->repeats; n++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm512_dpbusd_epi32(sums[i], x, y);
        __asm__ volatile("" : "+v"(x)); /* the compiler must not add up in advance */
    }
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    p->sink = (float)_mm512_reduce_add_epi32(sums[0]);
    return 2.0 * 64 * CHAINS * (double)p->repeats;
#else
    __m256i sums[CHAINS], x = _mm256_set1_epi8((char)(p->index + 3)), y = _mm256_set1_epi8(2);
    for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_set1_epi32(i);
    for (long n = 0; n < p->repeats; n++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) sums[i] = _mm256_dpbusd_avx_epi32(sums[i], x, y);
        __asm__ volatile("" : "+x"(x));
    }
    for (int i = 1; i < CHAINS; i++) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    p->sink = (float)_mm256_extract_epi32(sums[0], 0);
    return 2.0 * 32 * CHAINS * (double)p->repeats;
#endif
}
#define HAS_VNNI 1
#endif

#if defined(__AMX_INT8__)
#define ASK_FOR_TILES 0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18

static double amx_work(part *p) {
    struct {
        uint8_t palette, start;
        uint8_t reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } __attribute__((packed)) shape = {0};
    static int8_t data[1024];
    shape.palette = 1;
    for (int i = 0; i < 8; i++) shape.row_bytes[i] = 64, shape.rows[i] = 16;
    __asm__ volatile("" : : "r"(&shape) : "memory"); /* gcc knows only of the first bytes that are read */
    _tile_loadconfig(&shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, data, 64);
    _tile_loadd(5, data, 64);
    _tile_loadd(6, data, 64);
    _tile_loadd(7, data, 64);
    for (long n = 0; n < p->repeats; n++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
    return 2.0 * 4 * 16 * 16 * 64 * (double)p->repeats;
}
#define HAS_AMX 1
#endif

/* A matrix product in blocks: rows of A are shared out, panels of both are packed ------------------------------------ */

static void pack_b(part *p, int from, int depth) {
    float *to = p->packed_b;
    for (int j = 0; j < p->size; j += COLUMNS)
        for (int k = 0; k < depth; k++, to += COLUMNS) memcpy(to, p->b + (size_t)(from + k) * p->size + j, sizeof(float) * COLUMNS);
}

static void pack_a(part *p, int row, int from, int depth) {
    float *to = p->packed_a;
    for (int k = 0; k < depth; k++)
        for (int i = 0; i < ROWS; i++) *to++ = p->a[(size_t)(row + i) * p->size + from + k];
}

static void kernel(const float *a, const float *b, float *c, int depth, int stride) {
    vec sums[ROWS][2];
#pragma GCC unroll 12
    for (int i = 0; i < ROWS; i++) sums[i][0] = load(c + (size_t)i * stride), sums[i][1] = load(c + (size_t)i * stride + LANES);
    for (int k = 0; k < depth; k++, a += ROWS, b += COLUMNS) {
        vec left = load(b), right = load(b + LANES);
#pragma GCC unroll 12
        for (int i = 0; i < ROWS; i++) {
            vec one = set1(a[i]);
            sums[i][0] = fmadd(one, left, sums[i][0]);
            sums[i][1] = fmadd(one, right, sums[i][1]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < ROWS; i++) store(c + (size_t)i * stride, sums[i][0]), store(c + (size_t)i * stride + LANES, sums[i][1]);
}

/* A thread does the rows that are its own, and packs B for itself. */
static double sgemm_work(part *p) {
    int n = p->size, bands = n / ROWS;
    int first = bands * p->index / p->threads, last = bands * (p->index + 1) / p->threads;
    for (long r = 0; r < p->repeats; r++) {
        memset(p->c + (size_t)first * ROWS * n, 0, sizeof(float) * (size_t)(last - first) * ROWS * n);
        for (int from = 0; from < n; from += DEPTH) {
            int depth = n - from < DEPTH ? n - from : DEPTH;
            pack_b(p, from, depth);
            for (int band = first; band < last; band++) {
                pack_a(p, band * ROWS, from, depth);
                for (int j = 0; j < n; j += COLUMNS)
                    kernel(p->packed_a, p->packed_b + (size_t)j * depth, p->c + (size_t)band * ROWS * n + j, depth, n);
            }
        }
    }
    return 2.0 * ROWS * (last - first) * (double)n * n * (double)p->repeats;
}

static int sgemm_is_right(part *p) {
    int n = p->size, row = (n / ROWS * p->index / p->threads) * ROWS;
    for (int j = 0; j < n; j += 37) {
        double sum = 0;
        for (int k = 0; k < n; k++) sum += (double)p->a[(size_t)row * n + k] * p->b[(size_t)k * n + j];
        double gap = sum - p->c[(size_t)row * n + j];
        if (gap > 1e-3 * sum + 1e-3 || gap < -1e-3 * sum - 1e-3) return 0;
    }
    return 1;
}

/* Memory: as in STREAM (McCalpin 1995), with what is stored counted once --------------------------------------------- */

static double read_work(part *p) {
    vec sums[8];
    for (int i = 0; i < 8; i++) sums[i] = set1(0.0f);
    for (long r = 0; r < p->repeats; r++) {
        for (size_t i = 0; i + 8 * LANES <= p->floats; i += 8 * LANES)
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) sums[j] = add(sums[j], load(p->a + i + (size_t)j * LANES));
    }
    for (int j = 1; j < 8; j++) sums[0] = add(sums[0], sums[j]);
    float out[LANES];
    store(out, sums[0]);
    p->sink = out[0];
    return 4.0 * (double)(p->floats / (8 * LANES) * 8 * LANES) * (double)p->repeats;
}

static double dot_work(part *p) {
    size_t half = p->floats / 2 / (4 * LANES) * (4 * LANES);
    vec sums[8];
    for (int i = 0; i < 8; i++) sums[i] = set1(0.0f);
    for (long r = 0; r < p->repeats; r++)
        for (size_t i = 0; i + 8 * LANES <= half; i += 8 * LANES)
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++)
                sums[j] = fmadd(load(p->a + i + (size_t)j * LANES), load(p->a + half + i + (size_t)j * LANES), sums[j]);
    for (int j = 1; j < 8; j++) sums[0] = add(sums[0], sums[j]);
    float out[LANES];
    store(out, sums[0]);
    p->sink = out[0];
    return 2.0 * 4.0 * (double)(half / (8 * LANES) * 8 * LANES) * (double)p->repeats;
}

static double copy_work(part *p) {
    size_t half = p->floats / 2;
    for (long r = 0; r < p->repeats; r++) {
        for (size_t i = 0; i + 4 * LANES <= half; i += 4 * LANES)
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) store(p->a + half + i + (size_t)j * LANES, load(p->a + i + (size_t)j * LANES));
        __asm__ volatile("" ::: "memory");
    }
    return 2.0 * 4.0 * (double)(half / (4 * LANES) * 4 * LANES) * (double)p->repeats;
}

static double triad_work(part *p) {
    size_t third = p->floats / 3 / (4 * LANES) * (4 * LANES);
    vec scale = set1(3.0f);
    for (long r = 0; r < p->repeats; r++) {
        for (size_t i = 0; i < third; i += 4 * LANES)
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                size_t at = i + (size_t)j * LANES;
                store(p->a + 2 * third + at, fmadd(load(p->a + third + at), scale, load(p->a + at)));
            }
        __asm__ volatile("" ::: "memory");
    }
    return 3.0 * 4.0 * (double)third * (double)p->repeats;
}

/* All threads at once, block after block ----------------------------------------------------------------------------- */

typedef double (*working)(part *);
static working work;
static pthread_barrier_t begin, end;
static volatile int is_over;
static double done[1024];

static void prepare(part *p) {
    if (work == sgemm_work) {
        p->packed_a = memory((size_t)ROWS * DEPTH);
        p->packed_b = memory((size_t)DEPTH * p->size);
    } else if (p->floats) {
        p->a = memory(p->floats); /* first touched by the thread that uses it */
    }
#if defined(HAS_AMX)
    if (work == amx_work && syscall(SYS_arch_prctl, ASK_FOR_TILES, TILE_DATA)) exit(NO_SUCH_INSTRUCTION);
#endif
}

static void *turns(void *argument) {
    part *p = argument;
    prepare(p);
    for (;;) {
        pthread_barrier_wait(&begin);
        if (is_over) return NULL;
        done[p->index] = work(p);
        pthread_barrier_wait(&end);
    }
}

static double block(part *parts, int threads, long repeats, double *amount) {
    for (int i = 0; i < threads; i++) parts[i].repeats = repeats;
    double from = now_ns();
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&end);
    double took = now_ns() - from;
    *amount = 0;
    for (int i = 0; i < threads; i++) *amount += done[i];
    return took;
}

static working named(const char *name) {
    if (!strcmp(name, "fma")) return fma_work;
    if (!strcmp(name, "sgemm")) return sgemm_work;
    if (!strcmp(name, "read")) return read_work;
    if (!strcmp(name, "dot")) return dot_work;
    if (!strcmp(name, "copy")) return copy_work;
    if (!strcmp(name, "triad")) return triad_work;
#if defined(HAS_VNNI)
    if (!strcmp(name, "vnni")) return vnni_work;
#endif
#if defined(HAS_AMX)
    if (!strcmp(name, "amx")) return amx_work;
#endif
    exit(NO_SUCH_INSTRUCTION);
}

int main(int count, char **words) {
    if (count < 4) return 2;
    int threads = atoi(words[2]);
    double seconds = atof(words[3]);
    long size = count > 4 ? atol(words[4]) : 0;
    if (threads < 1 || threads > 1024) return 2;
    work = named(words[1]);
    part *parts = calloc((size_t)threads, sizeof(part));
    if (!parts) return 1;
    for (int i = 0; i < threads; i++) parts[i].index = i, parts[i].threads = threads;
    if (work == sgemm_work) {
        if (size < 96 || size % 96) return 2;
        float *a = memory((size_t)size * size), *b = memory((size_t)size * size), *c = memory((size_t)size * size);
        for (int i = 0; i < threads; i++) parts[i].size = (int)size, parts[i].a = a, parts[i].b = b, parts[i].c = c;
    } else if (size) {
        for (int i = 0; i < threads; i++) parts[i].floats = (size_t)size / sizeof(float) / (size_t)threads;
    }
    pthread_barrier_init(&begin, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&end, NULL, (unsigned)threads + 1);
    pthread_t ids[1024];
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, turns, &parts[i])) return 1;
    double amount;
    block(parts, threads, 1, &amount);
    long repeats = 1;
    for (;;) { /* the shortest of a few: one that was disturbed must not pass for a long one */
        double shortest = block(parts, threads, repeats, &amount);
        for (int i = 0; i < 4 && shortest >= BLOCK_NS; i++) {
            double again = block(parts, threads, repeats, &amount);
            if (again < shortest) shortest = again;
        }
        if (shortest >= BLOCK_NS) break;
        repeats *= 2;
    }
    double until = now_ns() + 1e9 * seconds;
    do {
        double took = block(parts, threads, repeats, &amount);
        printf("%.6g\n", 1e9 * amount / took);
    } while (now_ns() < until);
    if (work == sgemm_work)
        for (int i = 0; i < threads; i++)
            if (!sgemm_is_right(&parts[i])) {
                fprintf(stderr, "the product is wrong\n");
                return 1;
            }
    is_over = 1;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    return 0;
}

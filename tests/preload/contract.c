// What C and POSIX say of malloc and its kin, checked of whichever library is preloaded.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

static int is_aligned(const void *block, size_t align) { return ((uintptr_t)block & (align - 1)) == 0; }

// Too large for any heap; volatile, so that the compiler does not see it.
static volatile size_t too_large = SIZE_MAX / 2 + 100;

static void sizes(void) {
    for (size_t size = 0; size < 5000000; size = size < 300 ? size + 1 : size * 5 / 4) {
        unsigned char *block = malloc(size);
        CHECK(block && is_aligned(block, 16) && malloc_usable_size(block) >= size);
        memset(block, 0x5a, malloc_usable_size(block));
        unsigned char *grown = realloc(block, size * 3 + 1);
        CHECK(grown && is_aligned(grown, 16));
        for (size_t at = 0; at < size; at++) CHECK(grown[at] == 0x5a);
        unsigned char *shrunk = realloc(grown, size / 3 + 1);
        CHECK(shrunk);
        for (size_t at = 0; at < size / 3; at++) CHECK(shrunk[at] == 0x5a);
        free(shrunk);
        unsigned char *zeroed = calloc(size, 1);
        CHECK(zeroed);
        for (size_t at = 0; at < size; at++) CHECK(zeroed[at] == 0);
        memset(zeroed, 1, malloc_usable_size(zeroed));
        free(zeroed);
    }
    // Blocks of size zero have an address each.
    enum { COUNT = 2000 };
    void *blocks[COUNT];
    for (int number = 0; number < COUNT; number++) {
        CHECK((blocks[number] = number % 2 ? malloc(0) : calloc(0, 8)));
        for (int other = 0; other < number; other++) CHECK(blocks[other] != blocks[number]);
    }
    for (int number = 0; number < COUNT; number++) free(blocks[number]);
}

static void alignments(void) {
    for (size_t align = 8; align <= (16u << 20); align *= 2) {
        for (size_t size = 1; size < 300000; size = size * 7 + 1) {
            void *block = NULL;
            CHECK(posix_memalign(&block, align, size) == 0 && is_aligned(block, align));
            memset(block, 3, size);
            CHECK(malloc_usable_size(block) >= size);
            unsigned char *grown = realloc(block, size + 100000);
            CHECK(grown && grown[size - 1] == 3);
            free(grown);
            block = aligned_alloc(align, size);
            CHECK(block && is_aligned(block, align));
            free(block);
            block = memalign(align, size);
            CHECK(block && is_aligned(block, align));
            free(block);
        }
    }
    // What is no power of two is rounded up to one.
    void *block = memalign(24, 100);
    CHECK(block && is_aligned(block, 32));
    free(block);
    CHECK(is_aligned(valloc(10), 4096) && is_aligned(pvalloc(10), 4096));
    CHECK(malloc_usable_size(pvalloc(10)) >= 4096);
}

static void errors(void) {
    void *block = (void *)1;
    errno = 7;
    size_t wrong[] = {0, 1, 2, 3, 4, 12, 24, SIZE_MAX - 7, SIZE_MAX};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) CHECK(posix_memalign(&block, wrong[at], 8) == EINVAL);
    CHECK(block == (void *)1 && errno == 7);
    for (int log = 30; log < 64; log++) {
        int error = posix_memalign(&block, (size_t)1 << log, 8);
        CHECK(error == 0 || error == ENOMEM);
        CHECK(error || is_aligned(block, (size_t)1 << log));
        if (error == 0) free(block);
        block = (void *)1;
    }
    CHECK(memalign(SIZE_MAX, 8) == NULL && errno == EINVAL);
    CHECK(pvalloc(SIZE_MAX) == NULL && errno == ENOMEM);
    errno = 7;
    CHECK(posix_memalign(&block, 16, too_large) == ENOMEM && block == (void *)1 && errno == 7);
    CHECK(malloc(too_large) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(calloc(too_large, 16) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(reallocarray(NULL, too_large, 16) == NULL && errno == ENOMEM);
    char *kept = malloc(100);
    strcpy(kept, "kept");
    errno = 0;
    CHECK(realloc(kept, too_large) == NULL && errno == ENOMEM && strcmp(kept, "kept") == 0);
    errno = 5;
    free(kept);
    free(malloc(8 << 20));
    free(NULL);
    CHECK(errno == 5);
    CHECK(malloc_usable_size(NULL) == 0);
    errno = 5;
    CHECK(realloc(malloc(10), 0) == NULL && errno == 5);
    block = realloc(NULL, 30);
    CHECK(block);
    free(block);
}

static void *churn(void *seed) {
    uint64_t state = (uintptr_t)seed * 977 + 1;
    void *blocks[200] = {0};
    for (int round = 0; round < 40000; round++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        int place = state % 200;
        free(blocks[place]);
        size_t size = (state >> 20) % (round % 100 ? 2000 : 200000);
        blocks[place] = malloc(size);
        CHECK(blocks[place]);
        memset(blocks[place], 1, size);
    }
    // What is left is freed by another thread.
    void **left = malloc(sizeof blocks);
    memcpy(left, blocks, sizeof blocks);
    return left;
}

static void threads(void) {
    for (int round = 0; round < 5; round++) {
        pthread_t threads[8];
        for (uintptr_t thread = 0; thread < 8; thread++) CHECK(pthread_create(&threads[thread], NULL, churn, (void *)thread) == 0);
        // Children of a process whose threads are busy.
        for (int fork_round = 0; fork_round < 5; fork_round++) {
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                alarm(60);
                free(churn((void *)99));
                _exit(0);
            }
            int status;
            CHECK(waitpid(child, &status, 0) == child && status == 0);
        }
        for (int thread = 0; thread < 8; thread++) {
            void **left;
            CHECK(pthread_join(threads[thread], (void **)&left) == 0);
            for (int place = 0; place < 200; place++) free(left[place]);
            free(left);
        }
    }
}

static pthread_key_t keys[3];
static int destroyed;

// Allocates, and has itself called again, as often as the system allows.
static void at_end(void *value) {
    free(value);
    void *blocks[200];
    for (int number = 0; number < 200; number++) CHECK((blocks[number] = malloc(number * 40)));
    for (int number = 0; number < 200; number++) CHECK((blocks[number] = realloc(blocks[number], number * 50 + 1)));
    for (int number = 0; number < 200; number++) free(blocks[number]);
    int times = __atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED);
    CHECK(pthread_setspecific(keys[times % 3], malloc(77)) == 0);
}

static void *with_keys(void *unused) {
    (void)unused;
    for (int key = 0; key < 3; key++) CHECK(pthread_setspecific(keys[key], malloc(1000)) == 0);
    return malloc(10);
}

static int done;

static void *trim(void *unused) {
    (void)unused;
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) malloc_trim(0);
    return NULL;
}

static void ends(void) {
    for (int key = 0; key < 3; key++) CHECK(pthread_key_create(&keys[key], at_end) == 0);
    pthread_t trimmer, threads[4];
    CHECK(pthread_create(&trimmer, NULL, trim, NULL) == 0);
    for (int round = 0; round < 50; round++) {
        for (int thread = 0; thread < 4; thread++) CHECK(pthread_create(&threads[thread], NULL, with_keys, NULL) == 0);
        for (int thread = 0; thread < 4; thread++) {
            void *left;
            CHECK(pthread_join(threads[thread], &left) == 0);
            free(left);
        }
    }
    CHECK(destroyed >= 600);
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(trimmer, NULL) == 0);
}

int main(void) {
    sizes();
    alignments();
    errors();
    threads();
    ends();
    CHECK(malloc_trim(0) == 1);
    puts("kept");
    return 0;
}

// A stand-in for NVIDIA's libnvidia-ml.so.1: eight GPUs without any GPU. GPU n takes 100 + 100 n watts and has 10 + n GB in use.
//
// NVML_STANDIN=no-energy  counts no energy, as GPUs before Volta
// NVML_STANDIN=no-driver  as a library without a driver
// NVML_STANDIN=hangs      the driver never answers
// NVML_STANDIN=fails      every reading fails, as of a GPU that fell off the bus
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GPUS = 8, SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

typedef struct { unsigned long long total, free, used; } memory_t;

static int gpus[GPUS];

static int mode(const char *word) {
    const char *text = getenv("NVML_STANDIN");
    return text != NULL && strcmp(text, word) == 0;
}

static int watts(void *gpu) { return 100 + 100 * (int)((int *)gpu - gpus); }

int nvmlInit_v2(void) { return mode("no-driver") ? DRIVER_NOT_LOADED : SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = GPUS;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    if (index >= GPUS)
        return INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **gpu) {
    // GPU-0000000n
    int n = uuid[strlen(uuid) - 1] - '0';
    return n < 0 ? INVALID_ARGUMENT : nvmlDeviceGetHandleByIndex_v2((unsigned)n, gpu);
}

int nvmlDeviceGetPowerUsage(void *gpu, unsigned *milliwatts) {
    while (mode("hangs"))
        sleep(1);
    *milliwatts = 1000u * (unsigned)watts(gpu);
    return mode("fails") ? GPU_IS_LOST : SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *millijoules) {
    struct timespec now;
    while (mode("hangs"))
        sleep(1);
    clock_gettime(CLOCK_MONOTONIC, &now);
    *millijoules = (unsigned long long)watts(gpu) * ((unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000);
    if (mode("fails"))
        return GPU_IS_LOST;
    return mode("no-energy") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *gpu, memory_t *memory) {
    memory->total = 80000000000ull;
    memory->used = 10000000000ull + 1000000000ull * (unsigned long long)((int *)gpu - gpus);
    memory->free = memory->total - memory->used;
    return mode("fails") ? GPU_IS_LOST : SUCCESS;
}

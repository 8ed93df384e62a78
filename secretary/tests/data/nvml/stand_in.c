/* A library that answers NVML's calls for three GPUs: one that computes, one that is cut with MIG into two
 * instances, and one that fell off the bus. Numbers of functions, structures and errors are NVML's own. */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15, VERSION_MISMATCH = 25 };
#define GIB (1ULL << 30)

typedef struct { unsigned long number; } gpu;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } process;

static gpu whole[2] = {{0}, {1}};
static gpu instances[2] = {{10}, {11}};

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "550.90.07"); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return SUCCESS; }
int nvmlSystemGetProcessName(unsigned pid, char *text, unsigned size) {
    snprintf(text, size, "/home/somebody/bin/train-%u", pid);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned at, gpu **found) {
    if (at > 1) return GPU_IS_LOST;
    *found = &whole[at];
    return SUCCESS;
}

int nvmlDeviceGetName(gpu *of, char *text, unsigned size) {
    snprintf(text, size, of->number < 10 ? "NVIDIA H100 80GB HBM3" : "NVIDIA H100 80GB HBM3 MIG 1g.10gb");
    return SUCCESS;
}
int nvmlDeviceGetUUID(gpu *of, char *text, unsigned size) { snprintf(text, size, "GPU-%lu", of->number); return SUCCESS; }
int nvmlDeviceGetMemoryInfo_v2(gpu *of, memory *info) {
    if (info->version != (sizeof(memory) | 2U << 24)) return VERSION_MISMATCH;
    info->total = of->number < 10 ? 80 * GIB : 10 * GIB;
    info->free = of->number == 0 ? 20 * GIB : info->total;
    info->reserved = 0;
    info->used = info->total - info->free;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(gpu *of, utilization *rates) {
    rates->gpu = of->number == 0 ? 87 : 0;
    rates->memory = 0;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(gpu *of, int sensor, unsigned *degrees) { (void)of; (void)sensor; *degrees = 61; return SUCCESS; }
int nvmlDeviceGetPowerUsage(gpu *of, unsigned *milliwatts) { (void)of; *milliwatts = 412345; return SUCCESS; }
int nvmlDeviceGetCudaComputeCapability(gpu *of, int *major, int *minor) { (void)of; *major = 9; *minor = 0; return SUCCESS; }

int nvmlDeviceGetMigMode(gpu *of, unsigned *current, unsigned *pending) {
    *current = *pending = of->number == 1;
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(gpu *of, unsigned *count) { (void)of; *count = 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(gpu *of, unsigned at, gpu **found) {
    (void)of;
    /* Places are not always taken in order. */
    if (at != 1 && at != 4) return NOT_FOUND;
    *found = &instances[at == 4];
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(gpu *of, unsigned *count, process *list) {
    unsigned running = of->number == 0 || of->number == 11;
    unsigned room = *count;
    *count = running;
    if (room < running) return INSUFFICIENT_SIZE;
    if (running) *list = (process){4711, 6 * GIB, ~0U, ~0U};
    return SUCCESS;
}
int nvmlDeviceGetNvLinkState(gpu *of, unsigned link, unsigned *state) {
    (void)of;
    if (link > 3) return INVALID_ARGUMENT;
    *state = link != 2;
    return SUCCESS;
}

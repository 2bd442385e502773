// SPDX-License-Identifier: GPL-2.0
/*
 * What the paths that matter cost, on whatever module serves /dev/kvm, in TSC ticks. On an emulated
 * host whose TSC counts instructions (QEMU -icount shift=0,sleep=off and one CPU; Bochs with clock
 * sync=none) that is instructions for each event, the guest's stub included. Each figure is the
 * median of ROUNDS rounds after one that warms up. Prints figure<TAB>value. With the argument
 * "nested": what guest hypervisors pay; with "irq": interrupts and doorbells only.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS		11
#define EVENTS		200
#define GPA		0x40000000ull
#define MMIO		0x20000000ull
#define PORT		0x600
#define LOG_PAGES	512ull

/* The library reports through these. */
void tap_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "strata-bench: %s:%d: ", file, line);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(EXIT_FAILURE);
}

void tap_die(const char *file, int line, const char *fmt, ...)
	__attribute__((alias("tap_fail")));

void tap_skip(const char *fmt, ...)
{
	fprintf(stderr, "strata-bench: %s\n", fmt);
	exit(4);
}

static int by_value(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* @round returns ticks for one event. */
/* One figure alone, if there is a second argument */
static const char *only;

void figure(const char *name, u64 (*round)(void *), void *arg)
{
	u64 samples[ROUNDS];
	unsigned int i;

	if (only && strcmp(only, name))
		return;
	round(arg);
	for (i = 0; i < ROUNDS; i++)
		samples[i] = round(arg);
	qsort(samples, ROUNDS, sizeof(samples[0]), by_value);
	printf("%s\t%llu\n", name, (unsigned long long)samples[ROUNDS / 2]);
	fflush(stdout);
}

/* Exits that the kernel serves: the guest looks at the clock itself. */
#define GUEST_LOOP(name, insn, ...)						\
static void name(void)								\
{										\
	u64 start;								\
	u32 i;									\
										\
	for (;;) {								\
		start = rdtsc();						\
		for (i = 0; i < EVENTS; i++)					\
			asm volatile(insn : : __VA_ARGS__);			\
		guest_sync((rdtsc() - start) / EVENTS);				\
	}									\
}

GUEST_LOOP(guest_cpuid, "mov %0, %%eax; cpuid", "i"(0) : "rax", "rbx", "rcx", "rdx")
GUEST_LOOP(guest_vmmcall, "mov %0, %%eax; vmmcall", "i"(100) : "rax", "memory")
GUEST_LOOP(guest_vmcall, "mov %0, %%eax; vmcall", "i"(100) : "rax", "memory")
GUEST_LOOP(guest_wrmsr, "wrmsr", "c"(MSR_TSC_ADJUST), "a"(0), "d"(0) : "memory")

u64 in_guest(void *vcpu)
{
	if (vcpu_run(vcpu) != RUN_SYNC)
		tap_fail(__FILE__, __LINE__, "the guest left its loop");
	return vcpu_sync_value(vcpu);
}

static bool is_intel(void)
{
	u32 regs[4];

	cpuid(0, 0, regs);
	return regs[1] == 0x756e6547;
}

static void kernel_exits(void)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, guest_cpuid, 0);
	figure("cpuid", in_guest, vm->vcpu);
	vcpu_set_long(vm->vcpu, is_intel() ? guest_vmcall : guest_vmmcall, 0);
	figure("hypercall", in_guest, vm->vcpu);
	vcpu_set_long(vm->vcpu, guest_wrmsr, 0);
	figure("wrmsr", in_guest, vm->vcpu);
	vm_destroy(vm);
}

/* Exits to userspace: the clock runs from one KVM_RUN to the next. */
static void guest_out(void)
{
	for (;;)
		asm volatile("outb %%al, %%dx" : : "a"(0), "d"(PORT));
}

static void guest_mmio(void)
{
	for (;;)
		asm volatile("movl %%eax, (%0)" : : "r"(MMIO), "a"(0) : "memory");
}

static void guest_hlt(void)
{
	for (;;)
		asm volatile("hlt");
}

static u64 userspace_exits(void *arg)
{
	struct vcpu *vcpu = arg;
	u64 start = rdtsc();
	u32 i;

	for (i = 0; i < EVENTS; i++)
		if (vcpu_run_raw(vcpu))
			tap_fail(__FILE__, __LINE__, "KVM_RUN: %d", -errno);
	return (rdtsc() - start) / EVENTS;
}

static void user_exit(const char *name, void *fn, u32 reason)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, fn, 0);
	figure(name, userspace_exits, vm->vcpu);
	REQUIRE_EQ(vm->vcpu->run->exit_reason, reason);
	vm_destroy(vm);
}

/* Memory: @pages touches at a distance of @stride from GPA on. */
struct touch {
	struct vm *vm;
	u8 *mem;
	u64 size, stride, pages;
};

static volatile u64 touch_stride, touch_pages;

static void guest_touch(void)
{
	u64 start, i;

	for (;;) {
		start = rdtsc();
		for (i = 0; i < touch_pages; i++)
			*(volatile u64 *)(GPA + i * touch_stride) = i;
		guest_sync((rdtsc() - start) / touch_pages);
	}
}

static void touch_slot(struct touch *t, u32 flags, u64 size)
{
	REQUIRE_EQ(vm_set_slot(t->vm, 1, flags, GPA, size, t->mem), 0);
}

static u64 touch(struct touch *t)
{
	*guest_var(t->vm, &touch_stride) = t->stride;
	*guest_var(t->vm, &touch_pages) = t->pages;
	return in_guest(t->vm->vcpu);
}

static void touch_init(struct touch *t, u64 size, u64 stride, u64 pages, bool huge)
{
	u64 off;

	*t = (struct touch){ vm_create(1), host_alloc(size, 2 << 20), size, stride, pages };
	madvise(t->mem, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	/* The host's own faults are not the figure. */
	for (off = 0; off < pages * stride; off += stride)
		t->mem[off] = 1;
	vcpu_set_long(t->vm->vcpu, guest_touch, 0);
}

static u64 first_touch(void *arg)
{
	struct touch *t = arg;
	u64 ticks;

	touch_slot(t, 0, t->size);
	ticks = touch(t);
	touch_slot(t, 0, 0);
	return ticks;
}

static u64 first_dirty(void *arg)
{
	struct touch *t = arg;
	u64 ticks;

	touch_slot(t, 0, t->size);
	touch(t);
	touch_slot(t, KVM_MEM_LOG_DIRTY_PAGES, t->size);
	ticks = touch(t);
	touch_slot(t, 0, 0);
	return ticks;
}

static u64 get_dirty_log(void *arg)
{
	static u64 bitmap[(1ull << 30) / 4096 / 64];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	struct touch *t = arg;
	u64 start, ticks;
	u32 i, n = 0;

	touch(t);
	start = rdtsc();
	xioctl(t->vm->fd, KVM_GET_DIRTY_LOG, &log);
	ticks = rdtsc() - start;
	for (i = 0; i < sizeof(bitmap) / 8; i++)
		n += __builtin_popcountll(bitmap[i]);
	REQUIRE_EQ(n, t->pages);
	return ticks;
}

static void memory(void)
{
	struct touch t;

	touch_init(&t, LOG_PAGES * 4096, 4096, LOG_PAGES, false);
	figure("touch_4k", first_touch, &t);
	figure("dirty_first_write", first_dirty, &t);
	vm_destroy(t.vm);
	munmap(t.mem, t.size);

	touch_init(&t, 64 << 20, 2 << 20, 32, true);
	figure("touch_2m", first_touch, &t);
	vm_destroy(t.vm);
	munmap(t.mem, t.size);

	touch_init(&t, 1 << 30, 2 << 20, LOG_PAGES, false);
	touch_slot(&t, KVM_MEM_LOG_DIRTY_PAGES, t.size);
	figure("get_dirty_log", get_dirty_log, &t);
	vm_destroy(t.vm);
	munmap(t.mem, t.size);
}

/* State ioctls, on a vCPU that has run. */
struct state {
	int fd;
	unsigned long cmd;
	union {
		struct kvm_regs regs;
		struct kvm_sregs sregs;
	};
};

static u64 state_ioctl(void *arg)
{
	struct state *s = arg;
	u64 start = rdtsc();
	u32 i;

	for (i = 0; i < EVENTS; i++)
		xioctl(s->fd, s->cmd, &s->regs);
	return (rdtsc() - start) / EVENTS;
}

static void state(void)
{
	static const struct {
		const char *name;
		unsigned long get, cmd;
	} cmds[] = {
		{ "get_regs", KVM_GET_REGS, KVM_GET_REGS },
		{ "set_regs", KVM_GET_REGS, KVM_SET_REGS },
		{ "get_sregs", KVM_GET_SREGS, KVM_GET_SREGS },
		{ "set_sregs", KVM_GET_SREGS, KVM_SET_SREGS },
	};
	struct vm *vm = vm_create(1);
	unsigned int i;

	vcpu_set_long(vm->vcpu, guest_out, 0);
	vcpu_run_raw(vm->vcpu);
	for (i = 0; i < 4; i++) {
		struct state s = { .fd = vm->vcpu->fd, .cmd = cmds[i].cmd };

		xioctl(s.fd, cmds[i].get, &s.regs);
		figure(cmds[i].name, state_ioctl, &s);
	}
	vm_destroy(vm);
}

static u64 cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Ticks of 1024 ns, from a stretch in which nothing sleeps. */
static u64 ticks_of_1024ns(void)
{
	u64 ns = cpu_ns(), start = rdtsc();
	volatile u32 i;

	for (i = 0; i < 1000000; i++)
		;
	return (rdtsc() - start) * 1024 / (cpu_ns() - ns);
}

/* Destroying sleeps for grace periods, so this one counts the thread's own time, as ticks. */
static u64 vm_cycle(void *arg)
{
	int kvm = *(int *)arg;
	u64 start = cpu_ns();

	close(xioctl(kvm, KVM_CREATE_VM, 0));
	return (cpu_ns() - start) * ticks_of_1024ns() / 1024;
}

static u64 vcpu_cycle(void *arg)
{
	int kvm = *(int *)arg, fd, vcpu;
	u64 start, ticks;

	fd = xioctl(kvm, KVM_CREATE_VM, 0);
	start = rdtsc();
	vcpu = xioctl(fd, KVM_CREATE_VCPU, 0);
	ticks = rdtsc() - start;
	close(vcpu);
	close(fd);
	return ticks;
}

int main(int argc, char **argv)
{
	int kvm = kvm_open();

	if (argc > 2)
		only = argv[2];
	if (argc > 1 && !strcmp(argv[1], "irq")) {
		irq_figures();
		return EXIT_SUCCESS;
	}
	if (argc > 1 && !strcmp(argv[1], "nested")) {
		nested_figures();
		return EXIT_SUCCESS;
	}
	kernel_exits();
	user_exit("pio_out", guest_out, KVM_EXIT_IO);
	user_exit("mmio_write", guest_mmio, KVM_EXIT_MMIO);
	user_exit("hlt", guest_hlt, KVM_EXIT_HLT);
	memory();
	state();
	figure("vm_create_destroy", vm_cycle, &kvm);
	figure("vcpu_create", vcpu_cycle, &kvm);
	irq_figures();
	return EXIT_SUCCESS;
}

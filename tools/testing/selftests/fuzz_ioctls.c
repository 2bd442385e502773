// SPDX-License-Identifier: GPL-2.0
/*
 * What: random ioctls, sizes, flags and pointers at the system, VM and vCPU file descriptors from
 * two threads, with vCPUs run in between and random bytes in the guest's code and page tables; VMs
 * without interrupt controllers, with all of them and with half of them in the kernel. Argument
 * blocks are random, sparse, or at a page's end.
 * Conditions: the seed is printed; FUZZ_SEED, FUZZ_ROUNDS (ioctls of each thread and VM) and
 * FUZZ_GUEST=0 (no random bytes, hardly a run) override what is chosen.
 * Expected: every call returns; a VM made afterwards works, and what the kernel held is given back
 * when the module is unloaded. The harness watches the kernel's log.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cpu.h"
#include "emulator.h"
#include "module.h"
#include "state.h"

#define BLOCK	16384
#define KINDS	3	/* of interrupt controllers */
#define SLACK	1024	/* KiB */
#define TABLES	0x10000ull

static bool fuzz_guest, fuzz_debug;

struct fuzzer {
	struct vm *vm;
	u64 seed, rounds, ok;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	u8 *block;	/* BLOCK bytes, then a page that is not there */
	u8 *tables;	/* TABLES bytes, as they should be */
	volatile bool done;
};

static u64 rnd(struct fuzzer *f)
{
	f->seed ^= f->seed << 13;
	f->seed ^= f->seed >> 7;
	f->seed ^= f->seed << 17;
	return f->seed;
}

/* Mostly what is there, with the size that belongs to it; sometimes anything. */
static const unsigned long known[] = {
	KVM_GET_MSR_INDEX_LIST, KVM_GET_SUPPORTED_CPUID, KVM_GET_EMULATED_CPUID,
	KVM_GET_MSR_FEATURE_INDEX_LIST, KVM_CHECK_EXTENSION, KVM_CREATE_VCPU, KVM_GET_DIRTY_LOG,
	KVM_CLEAR_DIRTY_LOG, KVM_SET_USER_MEMORY_REGION, KVM_SET_TSS_ADDR,
	KVM_SET_IDENTITY_MAP_ADDR, KVM_ENABLE_CAP, KVM_X86_SET_MSR_FILTER, KVM_GET_CLOCK,
	KVM_SET_CLOCK, KVM_REGISTER_COALESCED_MMIO, KVM_UNREGISTER_COALESCED_MMIO,
	KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_SREGS2, KVM_SET_SREGS2,
	KVM_GET_FPU, KVM_SET_FPU, KVM_GET_XSAVE, KVM_SET_XSAVE, KVM_GET_XSAVE2, KVM_GET_XCRS,
	KVM_SET_XCRS, KVM_GET_MSRS, KVM_SET_MSRS, KVM_GET_CPUID2, KVM_SET_CPUID2,
	KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, KVM_GET_MP_STATE, KVM_SET_MP_STATE,
	KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, KVM_INTERRUPT, KVM_NMI, KVM_TRANSLATE,
	KVM_SET_GUEST_DEBUG, KVM_SET_SIGNAL_MASK, KVM_GET_TSC_KHZ, KVM_SET_TSC_KHZ, KVM_RUN,
	KVM_GET_STATS_FD, KVM_GET_NESTED_STATE, KVM_SET_NESTED_STATE, KVM_SMI, KVM_KVMCLOCK_CTRL,
	KVM_GET_VCPU_MMAP_SIZE, KVM_GET_API_VERSION,
	KVM_CREATE_IRQCHIP, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS, KVM_SIGNAL_MSI, KVM_SET_GSI_ROUTING,
	KVM_IRQFD, KVM_IOEVENTFD, KVM_CREATE_PIT2, KVM_GET_PIT2, KVM_SET_PIT2, KVM_REINJECT_CONTROL, KVM_GET_LAPIC, KVM_SET_LAPIC,
	KVM_SET_VAPIC_ADDR, KVM_SET_BOOT_CPU_ID, KVM_X86_SETUP_MCE, KVM_X86_SET_MCE, KVM_GET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR,
	KVM_HAS_DEVICE_ATTR, KVM_SET_CPUID,
};

/*
 * Forms of others, and the few without state: a case of their own, among some that give them
 * something to do
 */
static const unsigned long rarer[] = {
	KVM_CREATE_VM, KVM_SET_USER_MEMORY_REGION2, KVM_CREATE_PIT, KVM_GET_PIT, KVM_SET_PIT, KVM_TPR_ACCESS_REPORTING, KVM_SET_VAPIC_ADDR,
	KVM_X86_GET_MCE_CAP_SUPPORTED, KVM_CREATE_IRQCHIP, KVM_ENABLE_CAP, KVM_RUN,
};

static const unsigned long *table = known;
static unsigned int table_nr = sizeof(known) / sizeof(known[0]);

static unsigned long pick_cmd(struct fuzzer *f)
{
	u64 r = rnd(f);

	if (fuzz_guest && r % 16 == 1)
		return KVM_RUN;
	if (r % 16)
		return table[(r >> 8) % table_nr];
	return _IOC((r >> 8) & 3, KVMIO, (r >> 16) & 0xff, (r >> 24) & 0xfff);
}

static void fill(struct fuzzer *f, u8 *p, size_t n)
{
	u64 style = rnd(f) % 4, value;
	size_t i;

	for (i = 0; i + 8 <= n; i += 8) {
		value = rnd(f);
		if (style == 0 || (style == 1 && value % 4) || (style == 2 && i > 16))
			value = 0;
		if (style == 3 && value % 3)
			continue;	/* keep what an earlier get left */
		/* Small numbers pass more checks. */
		memcpy(p + i, &(u64){ value >> (value % 64) }, 8);
	}
}

static void *pick_arg(struct fuzzer *f, unsigned long cmd)
{
	size_t size = _IOC_SIZE(cmd);
	u64 r = rnd(f);

	if (cmd == KVM_RUN && fuzz_guest && r % 16)
		return NULL;
	switch (r % 16) {
	case 0:
		return (void *)(r >> 8);
	case 1:
		return (void *)((r >> 8) % 64);
	case 2:
		/* Runs off the end. */
		return f->block + BLOCK - (r >> 8) % (size + 8);
	default:
		fill(f, f->block, BLOCK);
		return f->block;
	}
}

/*
 * Sets must not map our own memory away: only the fuzzer's block is ever offered as guest
 * memory.
 */
static void tame(struct fuzzer *f, unsigned long cmd, void *arg)
{
	struct kvm_userspace_memory_region *region = arg;

	/* The newer form begins like the older one. */
	if ((cmd == KVM_SET_USER_MEMORY_REGION || cmd == KVM_SET_USER_MEMORY_REGION2) &&
	    (u8 *)arg >= f->block && (u8 *)arg + sizeof(*region) <= f->block + BLOCK) {
		region->userspace_addr = (u64)f->block & ~0xfffull;
		region->memory_size &= 0x3fff;
	}
}

static void guest_anything(void)
{
	for (;;) {
		guest_sync(0);
		asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx");
	}
}

/*
 * A few bytes of what the guest executes and of its page tables; now and then all is put right
 * again.
 */
static void scribble(struct fuzzer *f, u64 round)
{
	u8 *code = gpa_to_host(f->vm, (u64)guest_anything),
	   *tables = gpa_to_host(f->vm, GPA_TABLES);
	u64 r = rnd(f);

	if (round % 64 == 0) {
		memcpy(code, guest_anything, 64);
		memcpy(tables, f->tables, TABLES);
	} else if (fuzz_guest && r % 8 == 0) {
		code[(r >> 8) % 64] = r >> 16;
	} else if (fuzz_guest && r % 8 == 1) {
		*(u64 *)(tables + (r >> 8) % (TABLES / 8) * 8) ^= 1ull << (r >> 32) % 64;
	}
}

/* Emulators do not bear every breakpoint, and a blocked signal could be the one that ends runs. */
static bool left_out(unsigned long cmd)
{
	return cmd == KVM_SET_SIGNAL_MASK ||
	       (!fuzz_debug && (cmd == KVM_SET_DEBUGREGS || cmd == KVM_SET_GUEST_DEBUG));
}

static void *fuzz(void *arg)
{
	struct fuzzer *f = arg;
	int fds[3] = { f->vm->kvm, f->vm->fd, 0 }, fd, r;
	unsigned long cmd;
	void *p;
	u64 i;

	for (i = 0; i < f->rounds; i++) {
		fds[2] = f->vm->vcpu[rnd(f) & 1].fd;
		cmd = pick_cmd(f);
		if (left_out(cmd))
			continue;
		p = pick_arg(f, cmd);
		tame(f, cmd, p);
		fd = fds[rnd(f) % 4 % 3 || cmd == KVM_RUN ? 2 : rnd(f) % 3];
		r = ioctl(fd, cmd, p);
		f->ok += r >= 0;
		/* New file descriptors are not kept. */
		if (r > 2 &&
		    (cmd == KVM_CREATE_VM || cmd == KVM_CREATE_VCPU || cmd == KVM_GET_STATS_FD))
			close(r);
		scribble(f, i);
		if (i % 64 == 0) {
			/* Back to work, unless the CPUID of the moment forbids it. */
			kvm_ioctl(fds[2], KVM_SET_SREGS, &f->sregs);
			kvm_ioctl(fds[2], KVM_SET_REGS, &f->regs);
		}
	}
	f->done = true;
	return NULL;
}

static void on_signal(int sig)
{
	(void)sig;
}

/*
 * Runs end by signals, which go to both threads: one may wait for the other's vCPU and take no
 * signal meanwhile.
 */
static void interrupt_until_done(struct fuzzer *f, pthread_t *threads)
{
	int i;

	while (!f[0].done || !f[1].done) {
		usleep(2000);
		for (i = 0; i < 2; i++)
			pthread_kill(threads[i], SIGUSR1);
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

static struct vm *vm_of_kind(unsigned int kind)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = 24 };
	struct kvm_pit_config pit = { 0 };
	struct vm *vm = vm_create(0);
	struct kvm_cpuid2 *cpuid = supported_cpuid(vm->kvm);
	unsigned int i;

	if (kind == 1 && !kvm_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL))
		kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
	if (kind == 2)
		kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &split);
	for (i = 0; i < 2; i++) {
		vcpu_create(vm, i);
		xioctl(vm->vcpu[i].fd, KVM_SET_CPUID2, cpuid);
	}
	free(cpuid);
	return vm;
}

static void fuzz_vm(u64 seed, u64 rounds, unsigned int kind)
{
	struct fuzzer f[2] = { 0 };
	pthread_t threads[2];
	struct vm *vm = vm_of_kind(kind);
	int i;

	for (i = 0; i < 2; i++) {
		f[i] = (struct fuzzer){ .vm = vm, .seed = seed * (i + 3) | 1, .rounds = rounds };
		vcpu_set_long(&vm->vcpu[i], guest_anything, 0);
		xioctl(vm->vcpu[i].fd, KVM_GET_REGS, &f[i].regs);
		xioctl(vm->vcpu[i].fd, KVM_GET_SREGS, &f[i].sregs);
		f[i].block = mmap(NULL, BLOCK + 4096, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(f[i].block + BLOCK, 4096);
		f[i].tables = memcpy(malloc(TABLES), gpa_to_host(vm, GPA_TABLES), TABLES);
	}
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, fuzz, &f[i]);
	interrupt_until_done(f, threads);
	for (i = 0; i < 2; i++) {
		munmap(f[i].block, BLOCK);
		free(f[i].tables);
	}
	tap_note("kind %u: %lu ioctls succeeded", kind, f[0].ok + f[1].ok);
	CHECK(f[0].ok + f[1].ok > 0);
	vm_destroy(vm);
}

static void fuzz_vms(u64 seed, u64 rounds, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		fuzz_vm(seed + i, rounds, i % KINDS);
}

/* Unload and load, so that nothing of the module's own counts. */
static long memory_without(const struct module *m)
{
	long kib;

	REQUIRE_EQ(module_unload_patiently(m), 0);
	kib = module_kernel_memory();
	REQUIRE_EQ(module_load(m), 0);
	return kib;
}

TEST_TIMEOUT(random_ioctls, 300)
{
	u64 seed = env_number("FUZZ_SEED", time(NULL)), rounds = env_number("FUZZ_ROUNDS", 1500);
	struct module modules[MAX_MODULES];
	int n = module_list("/modules/list", modules);
	long before = 0, after;
	struct vm *vm;

	fuzz_guest = env_number("FUZZ_GUEST", 1);
	fuzz_debug = !fuzz_guest || !host_is_tcg();
	tap_note("FUZZ_SEED=%llu FUZZ_ROUNDS=%llu", (unsigned long long)seed,
		 (unsigned long long)rounds);
	signal(SIGUSR1, on_signal);
	fuzz_vms(seed, rounds, KINDS);
	if (n)
		before = memory_without(&modules[n - 1]);
	fuzz_vms(seed + KINDS, rounds, KINDS);
	if (n) {
		after = memory_without(&modules[n - 1]);
		tap_note("%ld KiB more than before", after - before);
		CHECK(after <= before + SLACK);
	}
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_done, 0);
	RUN_UNTIL_DONE(vm->vcpu);
	vm_destroy(vm);
}

TEST_TIMEOUT(rarer_ioctls, 120)
{
	u64 seed = env_number("FUZZ_SEED", time(NULL)),
	    rounds = env_number("FUZZ_ROUNDS", 1500) / 4;

	table = rarer;
	table_nr = sizeof(rarer) / sizeof(rarer[0]);
	fuzz_guest = false;
	tap_note("FUZZ_SEED=%llu", (unsigned long long)seed);
	signal(SIGUSR1, on_signal);
	fuzz_vms(seed, rounds, KINDS);
}

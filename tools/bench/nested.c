// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest hypervisor pays: exits of L2 that L1 handles, alone and with what a hypervisor does
 * around them, exits that L0 handles by itself, and the state ioctls while L2 runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bench.h"
#include "npt.h"

#define EVENTS 100

static void l2_vmmcall(void)
{
	for (;;)
		vmmcall();
}

static void l2_cpuid(void)
{
	u64 start;
	u32 i;

	for (;;) {
		start = rdtsc();
		for (i = 0; i < EVENTS; i++)
			asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx");
		guest_sync((rdtsc() - start) / EVENTS);
	}
}

/* RDMSR of what L1 and L0 both have, and neither hands to the CPU */
static void l2_rdmsr(void)
{
	u64 start;
	u32 i;

	for (;;) {
		start = rdtsc();
		for (i = 0; i < EVENTS; i++)
			rdmsr(MSR_PAT);
		guest_sync((rdtsc() - start) / EVENTS);
	}
}

/* As a hypervisor says it that changes nothing but RIP, once the control block has been used */
static void all_clean(void)
{
	svm_vmrun(&svm_vmcb);
	svm_vmcb.clean = 0xffffffff;
}

static void guest_reflected(void)
{
	u64 start;
	u32 i;

	svm_guest_init(l2_vmmcall);
	all_clean();
	for (;;) {
		start = rdtsc();
		for (i = 0; i < EVENTS; i++)
			asm volatile("vmrun %%rax; addq $3, 0x578(%%rax)" : : "a"(&svm_vmcb) : "memory", "cc");
		guest_sync((rdtsc() - start) / EVENTS);
		svm_guest_restart(l2_vmmcall);
	}
}

static void guest_reflected_all(void)
{
	u64 start;
	u32 i;

	svm_guest_init(l2_vmmcall);
	asm volatile("vmsave %%rax" : : "a"(&svm_vmcb) : "memory");
	asm volatile("vmsave %%rax" : : "a"(svm_hsave) : "memory");
	all_clean();
	for (;;) {
		start = rdtsc();
		for (i = 0; i < EVENTS; i++)
			asm volatile("clgi; vmload %%rax; vmrun %%rax; vmsave %%rax; addq $3, 0x578(%%rax); xchg %%rax, %%rbx;"
				     "vmload %%rax; xchg %%rax, %%rbx; stgi"
				     : : "a"(&svm_vmcb), "b"(svm_hsave) : "memory", "cc");
		guest_sync((rdtsc() - start) / EVENTS);
		svm_guest_restart(l2_vmmcall);
	}
}

static void run_l2(void (*fn)(void))
{
	svm_guest_init(fn);
	for (;;)
		svm_vmrun(&svm_vmcb);
}

static void guest_l2_cpuid(void)
{
	run_l2(l2_cpuid);
}

static void guest_l2_rdmsr(void)
{
	run_l2(l2_rdmsr);
}

/* ---- nested paging ---- */

static struct npt npt;

/* L2 reads what L1 has not mapped; L1 steps over it. */
static void l2_npf(void)
{
	asm volatile("1: mov (%rbx), %rax; jmp 1b");
}

static void guest_npf(void)
{
	u64 start;
	u32 i;

	npt_guest_init(&npt, NPT_4LEVEL);
	svm_guest_restart(l2_npf);
	for (;;) {
		start = rdtsc();
		for (i = 0; i < EVENTS; i++)
			asm volatile("vmrun %%rax; addq $3, 0x578(%%rax)" : : "a"(&svm_vmcb), "b"(NPT_PLAY) : "memory", "cc");
		guest_sync((rdtsc() - start) / EVENTS);
	}
}

/* Each run of L2 with a flush, in which it uses two tables of L1's */
static void guest_flush(void)
{
	u64 start;
	u32 i;

	npt_guest_init(&npt, NPT_4LEVEL);
	npt_set(&npt, NPT_PLAY, 1, npt_page() | NPT_RWX);
	svm_vmcb.tlb_ctl = 1;
	for (;;) {
		start = rdtsc();
		for (i = 0; i < EVENTS; i++)
			npt_access(NPT_READ, NPT_PLAY);
		guest_sync((rdtsc() - start) / EVENTS);
	}
}

#define TOUCH_GPA	0x10000000ull
#define TOUCH_PAGES	512

static void l2_touch(void)
{
	u64 start, i;

	for (;;) {
		start = rdtsc();
		for (i = 0; i < TOUCH_PAGES; i++)
			*(volatile u64 *)(NPT_PLAY + TOUCH_GPA + (i << 12)) = i;
		guest_sync((rdtsc() - start) / TOUCH_PAGES);
	}
}

/* L1 has a 1G page, the host 4K pages. */
static void guest_l2_touch(void)
{
	npt_guest_init(&npt, NPT_4LEVEL);
	npt_set(&npt, NPT_PLAY, 3, NPT_RWX | PTE_PS);
	svm_guest_restart(l2_touch);
	for (;;)
		svm_vmrun(&svm_vmcb);
}

struct l2_touch {
	struct vm *vm;
	u8 *mem;
};

static u64 first_touch(void *arg)
{
	struct l2_touch *t = arg;
	u64 ticks;

	REQUIRE_EQ(vm_set_slot(t->vm, 1, 0, TOUCH_GPA, TOUCH_PAGES << 12, t->mem), 0);
	ticks = in_guest(t->vm->vcpu);
	REQUIRE_EQ(vm_set_slot(t->vm, 1, 0, TOUCH_GPA, 0, t->mem), 0);
	return ticks;
}

static void touch_figure(void)
{
	struct l2_touch t = { vm_create(1), host_alloc(TOUCH_PAGES << 12, 2 << 20) };
	u64 off;

	madvise(t.mem, TOUCH_PAGES << 12, MADV_NOHUGEPAGE);
	for (off = 0; off < TOUCH_PAGES << 12; off += 4096)
		t.mem[off] = 1;
	vcpu_set_long(t.vm->vcpu, guest_l2_touch, 0);
	figure("l2_touch", first_touch, &t);
	vm_destroy(t.vm);
}

struct nested_arg {
	int fd;
	unsigned long cmd;
	u64 state[(sizeof(struct kvm_nested_state) + 4096) / 8];
};

static u64 nested_ioctl(void *arg)
{
	struct nested_arg *a = arg;
	u64 start = rdtsc();
	u32 i;

	for (i = 0; i < EVENTS; i++)
		xioctl(a->fd, a->cmd, a->state);
	return (rdtsc() - start) / EVENTS;
}

static void guest_figure(const char *name, void *fn)
{
	struct vm *vm = vm_create(1);

	vcpu_set_long(vm->vcpu, fn, 0);
	figure(name, in_guest, vm->vcpu);
	vm_destroy(vm);
}

void nested_figures(void)
{
	static struct nested_arg a;
	struct vm *vm;

	guest_figure("l2_reflected", guest_reflected);
	guest_figure("l2_reflected_all", guest_reflected_all);
	guest_figure("l2_cpuid", guest_l2_cpuid);
	guest_figure("l2_rdmsr", guest_l2_rdmsr);
	guest_figure("l2_npf", guest_npf);
	guest_figure("l2_flush", guest_flush);
	touch_figure();

	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, guest_l2_cpuid, 0);
	in_guest(vm->vcpu);
	a.fd = vm->vcpu->fd;
	((struct kvm_nested_state *)a.state)->size = sizeof(a.state);
	a.cmd = KVM_GET_NESTED_STATE;
	figure("get_nested_state", nested_ioctl, &a);
	a.cmd = KVM_SET_NESTED_STATE;
	figure("set_nested_state", nested_ioctl, &a);
	vm_destroy(vm);
}

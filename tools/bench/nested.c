// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest hypervisor pays: exits of L2 that L1 handles, alone and with what a hypervisor does around them, exits that L0
 * handles by itself, and the state ioctls while L2 runs.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "svm.h"

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

static void guest_reflected(void)
{
	u64 start;
	u32 i;

	svm_guest_init(l2_vmmcall);
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

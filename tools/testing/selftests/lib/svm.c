// SPDX-License-Identifier: GPL-2.0
/*
 * L1's side of SVM, and whether there is SVM; see svm.h.
 */
#include <stdlib.h>
#include <unistd.h>

#include "svm.h"

struct svm_vmcb svm_vmcb;
u8 svm_iopm[3 * 4096] __attribute__((aligned(4096)));
u8 svm_msrpm[2 * 4096] __attribute__((aligned(4096)));
u8 svm_hsave[4096] __attribute__((aligned(4096)));
u64 svm_gprs[14];
u8 svm_l2_stack[16384] __attribute__((aligned(16)));
bool svm_may_repeat;

bool svm_repeated(u32 event, u64 times)
{
	static u32 in_a_row;

	if (!svm_may_repeat || (event & 0x700) != INJ_INTR || times != 2 || in_a_row == 2) {
		in_a_row = 0;
		return false;
	}
	in_a_row++;
	return true;
}

void svm_guest_restart(void (*fn)(void))
{
	svm_vmcb.rip = (u64)fn;
	svm_vmcb.rsp = (u64)svm_l2_stack + sizeof(svm_l2_stack) - 8;
	svm_vmcb.rflags = RFLAGS_FIXED;
}

void svm_guest_init(void (*fn)(void))
{
	struct svm_vmcb *b = &svm_vmcb;
	const struct svm_seg data = { .selector = SEL_DATA, .attrib = 0xc93, .limit = ~0u };

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, (u64)svm_hsave);
	svm_intercept(b, ICPT_VMRUN, true);
	svm_intercept(b, ICPT_VMMCALL, true);
	b->iopm = (u64)svm_iopm;
	b->msrpm = (u64)svm_msrpm;
	b->asid = 1;
	b->cs = (struct svm_seg){ .selector = SEL_CODE64, .attrib = 0xa9b, .limit = ~0u };
	b->ss = b->ds = b->es = data;
	b->gdtr = (struct svm_seg){ .limit = GDT_ENTRIES * 8 - 1, .base = GPA_GDT };
	b->idtr = (struct svm_seg){ .limit = 0xfff, .base = GPA_IDT };
	b->efer = rdmsr(MSR_EFER);
	b->cr0 = read_cr0();
	b->cr3 = read_cr3();
	b->cr4 = read_cr4();
	b->dr6 = 0xffff0ff0;
	b->dr7 = 0x400;
	b->g_pat = 0x0007040600070406ull;
	svm_guest_restart(fn);
}

static u32 supported(u32 leaf, int reg)
{
	int kvm = kvm_open();
	struct kvm_cpuid2 *cpuid = supported_cpuid(kvm);
	struct kvm_cpuid_entry2 *e = cpuid_entry(cpuid, leaf, 0);
	u32 value = e ? (reg ? e->edx : e->ecx) : 0;

	free(cpuid);
	close(kvm);
	return value;
}

u32 svm_features(void)
{
	return supported(0x8000000a, 1);
}

void need_svm(void)
{
	if (!(supported(0x80000001, 0) & 4))
		tap_skip("guests are not offered SVM");
}

void svm_run_with(void *fn, u32 features)
{
	enum run_end end;
	struct vm *vm;

	need_svm();
	if (!(svm_features() & features))
		tap_skip("the feature is not offered");
	vm = vm_create(1);
	vcpu_set_long(vm->vcpu, fn, 0);
	/* Without controllers in the kernel userspace is told of a TPR that is lowered. */
	do {
		end = vcpu_run(vm->vcpu);
	} while (end == RUN_OTHER && vm->vcpu->run->exit_reason == KVM_EXIT_SET_TPR);
	CHECK_EQ(end, RUN_DONE);
	vm_destroy(vm);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * What: VMLOAD of addresses that are not canonical, by L1; what of that a VMM saves.
 * Conditions: guests are offered SVM; strata, which stops after each exit.
 * Expected: they are sign-extended, as no CPU keeps others; at each stop the MSRs that were got are
 * taken back.
 */
#include <stdlib.h>

#include "svm.h"
#include "../../../include/uapi/linux/strata.h"

#define LOW_HALF	0x1234567890abcdefull
#define LOW_EXTENDED	0x0000567890abcdefull
#define HIGH_HALF	0x00ff9234567890abull
#define HIGH_EXTENDED	0xffff9234567890abull

static struct svm_vmcb own, odd, back;
static volatile u64 loaded;

static const u32 addresses[] = {
	MSR_LSTAR, MSR_CSTAR, MSR_KERNEL_GS_BASE, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_FS_BASE, MSR_GS_BASE,
};

static void vmload(struct svm_vmcb *area)
{
	asm volatile("vmload %0" : : "a"(area) : "memory");
}

static void vmsave(struct svm_vmcb *area)
{
	asm volatile("vmsave %0" : : "a"(area) : "memory");
}

static void guest_main(void)
{
	svm_guest_init(guest_main);
	vmsave(&own);
	vmsave(&odd);
	odd.lstar = odd.sysenter_esp = odd.fs.base = odd.tr.base = odd.kernel_gs_base = LOW_HALF;
	odd.cstar = odd.sysenter_eip = odd.gs.base = odd.ldtr.base = HIGH_HALF;
	vmload(&odd);
	loaded = 1;
	vmsave(&back);
	GUEST_ASSERT_EQ(rdmsr(MSR_LSTAR), LOW_EXTENDED);
	GUEST_ASSERT_EQ(rdmsr(MSR_SYSENTER_EIP), HIGH_EXTENDED);
	vmload(&own);
	GUEST_ASSERT_EQ(back.lstar, LOW_EXTENDED);
	GUEST_ASSERT_EQ(back.cstar, HIGH_EXTENDED);
	GUEST_ASSERT_EQ(back.kernel_gs_base, LOW_EXTENDED);
	GUEST_ASSERT_EQ(back.sysenter_esp, LOW_EXTENDED);
	GUEST_ASSERT_EQ(back.sysenter_eip, HIGH_EXTENDED);
	GUEST_ASSERT_EQ(back.fs.base, LOW_EXTENDED);
	GUEST_ASSERT_EQ(back.gs.base, HIGH_EXTENDED);
	GUEST_ASSERT_EQ(back.ldtr.base, HIGH_EXTENDED);
	GUEST_ASSERT_EQ(back.tr.base, LOW_EXTENDED);
	guest_done();
}

/* Return: it is what the guest loaded. */
static bool taken_back(struct vcpu *vcpu)
{
	unsigned int i;
	u64 val;

	for (i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		REQUIRE_EQ(vcpu_get_msr(vcpu, addresses[i], &val), 1);
		REQUIRE_EQ(vcpu_set_msr(vcpu, addresses[i], val), 1);
	}
	REQUIRE_EQ(vcpu_get_msr(vcpu, MSR_LSTAR, &val), 1);
	return val == LOW_EXTENDED;
}

TEST(loaded_addresses_are_canonical)
{
	struct kvm_enable_cap cap = { .cap = STRATA_CAP_EXIT_EACH };
	struct kvm_cpuid2 *cpuid;
	unsigned int before = 0;
	struct vm *vm;

	need_svm();
	STRATA_ONLY("stops behind VMLOAD itself");
	vm = vm_create(0);
	cpuid = supported_cpuid(vm->kvm);
	xioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	vcpu_create(vm, 0);
	xioctl(vm->vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	vcpu_set_long(vm->vcpu, guest_main, 0);
	while (vcpu_run(vm->vcpu) == RUN_OTHER) {
		REQUIRE_EQ(vm->vcpu->run->exit_reason, STRATA_EXIT_EACH);
		before += taken_back(vm->vcpu) && !*guest_var(vm, &loaded);
	}
	/* One stop at least is behind VMLOAD and before the next instruction. */
	CHECK(before);
	CHECK_EQ(*guest_var(vm, &loaded), 1);
	vm_destroy(vm);
}

// SPDX-License-Identifier: GPL-2.0
#include "pv.h"

#include <stdlib.h>

struct vm *pv_apic_vm(unsigned int nr, void *fn)
{
	struct kvm_cpuid2 *cpuid;
	struct vm *vm;
	unsigned int i;

	NEED_CAP(KVM_CAP_IRQCHIP);
	vm = vm_create(0);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	cpuid = supported_cpuid(vm->kvm);
	cpuid_entry(cpuid, 1, 0)->ecx |= 1u << 24;
	for (i = 0; i < nr; i++) {
		vcpu_create(vm, i);
		xioctl(vm->vcpu[i].fd, KVM_SET_CPUID2, cpuid);
		vcpu_set_mp_state(&vm->vcpu[i], KVM_MP_STATE_RUNNABLE);
		vcpu_set_long(&vm->vcpu[i], fn, i);
	}
	free(cpuid);
	return vm;
}

void *run_to_done(void *vcpu)
{
	RUN_UNTIL_DONE((struct vcpu *)vcpu);
	return NULL;
}

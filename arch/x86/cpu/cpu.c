// SPDX-License-Identifier: GPL-2.0
/* Lifetime of the CPU state: module, VM, vCPU, RESET and INIT. */
#include "../strata.h"

int cpu_module_init(void)
{
	cpuid_host_init();
	fpu_host_init();
	return user_return_init();
}

void cpu_module_exit(void)
{
	user_return_exit();
}

int cpu_vm_init(struct vm *vm)
{
	tsc_vm_init(vm);
	return 0;
}

void cpu_vm_destroy(struct vm *vm)
{
	msr_vm_destroy(vm);
}

int cpu_vcpu_init(struct vcpu *v)
{
	int ret;

	ret = fpu_vcpu_init(v);
	if (ret)
		return ret;
	ret = mce_vcpu_init(v);
	if (ret)
		goto err_fpu;
	cpuid_vcpu_init(v);
	tsc_vcpu_init(v);
	return 0;

err_fpu:
	fpu_vcpu_destroy(v);
	return ret;
}

void cpu_vcpu_destroy(struct vcpu *v)
{
	cpuid_vcpu_destroy(v);
	mce_vcpu_destroy(v);
	fpu_vcpu_destroy(v);
}

void cpu_reset(struct vcpu *v, bool init)
{
	msr_reset(v, init);
	debug_reset(v, init);
	fpu_reset(v, init);
	v->cpu.pdptr_stale = false;
	cpuid_runtime_changed(v);
}

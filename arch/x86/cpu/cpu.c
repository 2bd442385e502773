// SPDX-License-Identifier: GPL-2.0
/* Lifetime of the CPU state: module, VM, vCPU, KVM_RUN, RESET and INIT. */
#include <asm/msr-index.h>

#include "../strata.h"

/* Slot of IA32_TSC_AUX, negative where the CPU has none */
static int tsc_aux_slot;

int cpu_module_init(void)
{
	if (!msr_table_sorted())
		return -EINVAL;
	cpuid_host_init();
	fpu_host_init();
	tsc_aux_slot = boot_cpu_has(X86_FEATURE_RDTSCP) || boot_cpu_has(X86_FEATURE_RDPID) ? user_return_add(MSR_TSC_AUX) : -ENODEV;
	return 0;
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

/* Preemption off. RDTSCP and RDPID read it without an exit. */
static void load_tsc_aux(struct vcpu *v)
{
	if (tsc_aux_slot >= 0 && guest_has(v, GUEST_TSC_AUX))
		user_return_set(tsc_aux_slot, &v->cpu.tsc_aux);
}

void cpu_tsc_aux_changed(struct vcpu *v)
{
	if (!v->cpu.in_run)
		return;
	preempt_disable();
	load_tsc_aux(v);
	preempt_enable();
}

void cpu_run_begin(struct vcpu *v)
{
	WARN_ON_ONCE(fpu_swap_kvm_fpstate(&v->cpu.fpu, true));
	preempt_disable();
	v->cpu.in_run = true;
	load_tsc_aux(v);
	preempt_enable();
}

void cpu_run_end(struct vcpu *v)
{
	v->cpu.in_run = false;
	WARN_ON_ONCE(fpu_swap_kvm_fpstate(&v->cpu.fpu, false));
}

void cpu_reset(struct vcpu *v, bool init)
{
	msr_reset(v, init);
	debug_reset(v, init);
	fpu_reset(v, init);
	v->cpu.pdptr_stale = false;
	cpuid_runtime_changed(v);
}

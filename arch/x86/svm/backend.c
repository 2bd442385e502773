// SPDX-License-Identifier: GPL-2.0
/*
 * SVM's answers to the backend's questions, in one place.
 */
#include "nested.h"

static int svm_vm_init(struct vm *vm)
{
	return 0;	/* everything SVM needs hangs off the vCPU */
}

static void svm_vm_destroy(struct vm *vm)
{
}

static const struct backend_ops ops = {
	.enable			= svm_enable,
	.disable		= svm_disable,
	.crash			= svm_disable,
	.vm_init		= svm_vm_init,
	.vm_destroy		= svm_vm_destroy,
	.vcpu_init		= svm_vcpu_init,
	.vcpu_destroy		= svm_vcpu_destroy,
	.vcpu_load		= svm_vcpu_load,
	.vcpu_put		= svm_vcpu_put,
	.reset			= svm_reset,
	.cache_reg		= svm_cache_reg,
	.get_segments		= svm_get_segments,
	.get_segment		= svm_get_segment,
	.set_segment		= svm_set_segment,
	.get_dt			= svm_get_dt,
	.set_dt			= svm_set_dt,
	.set_cr0		= svm_set_cr0,
	.set_cr3		= svm_set_cr3,
	.set_cr4		= svm_set_cr4,
	.set_efer		= svm_set_efer,
	.cpl			= svm_cpl,
	.shadow			= svm_shadow,
	.set_shadow		= svm_set_shadow,
	.take_pending_dbg	= svm_take_pending_dbg,
	.skip			= svm_skip,
	.enter			= svm_enter,
	.after_enter		= svm_after_enter,
	.handle_exit		= svm_handle_exit,
	.inject			= svm_inject,
	.windows		= svm_windows,
	.view			= svm_view,
	.exit_info		= svm_exit_info,
	.update_intercepts	= svm_update_intercepts,
	.update_msr_access	= svm_update_msr_access,
	.update_cpuid		= svm_update_cpuid,
	.get_msr		= svm_get_msr,
	.set_msr		= svm_set_msr,
	.set_tsc		= svm_set_tsc,
	.flush_tlb		= svm_flush_tlb,
	.set_root		= svm_set_root,
	.sync_debug		= svm_sync_debug,
	.set_dr7		= svm_set_dr7,
	.nested_exit		= nested_planned_exit,
	.nested_intercepts	= nested_intercepts,
	.nested_pages		= nested_pages,
	.nested_fault		= nested_emulated_fault,
	.nested_get		= nested_state_get,
	.nested_set		= nested_state_set,
	.nested_smm_save	= nested_smm_save,
	.nested_smm_leave	= nested_smm_leave,
	.nested_rsm		= nested_rsm,
	.fail_entry_dump	= svm_dump,
};

const struct backend svm_backend = {
	.check		= svm_check,
	.setup		= svm_setup,
	.unsetup	= svm_unsetup,
	.ops		= &ops,
};

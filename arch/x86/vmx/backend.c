// SPDX-License-Identifier: GPL-2.0
/*
 * VMX's answers to the backend's questions, in one place.
 */
#include "vmx.h"
#include "../smm/smram.h"

static void vmx_vm_destroy(struct vm *vm)
{
}

/* Guests see no VMX: none of these is ever called (backend_caps.nested_state_size is 0). */
static enum exit_result vmx_nested_exit(struct vcpu *v, const struct event_plan *p)
{
	return EXIT_ERROR;
}

static bool vmx_nested_intercepts(struct vcpu *v, const struct emu *e)
{
	return false;
}

static enum exit_result vmx_nested_pages(struct vcpu *v)
{
	return EXIT_RESUME;
}

static enum exit_result vmx_nested_fault(struct vcpu *v)
{
	return EXIT_RESUME;
}

static int vmx_nested_get(struct vcpu *v, struct kvm_nested_state __user *user)
{
	return -ENOTTY;
}

static int vmx_nested_set(struct vcpu *v, const struct kvm_nested_state *head,
			  const struct kvm_nested_state __user *user)
{
	return -ENOTTY;
}

static int vmx_nested_smm_save(struct vcpu *v, struct smram_state *s)
{
	return -EFAULT;
}

static void vmx_nested_smm_leave(struct vcpu *v)
{
}

static int vmx_nested_rsm(struct vcpu *v, const struct smram_state *s)
{
	return s->svm_guest ? -EINVAL : 0;
}

static const struct backend_ops ops = {
	.enable			= vmx_enable,
	.disable		= vmx_disable,
	.crash			= vmx_crash,
	.vm_init		= vmx_vm_init,
	.vm_destroy		= vmx_vm_destroy,
	.vcpu_init		= vmx_vcpu_init,
	.vcpu_destroy		= vmx_vcpu_destroy,
	.vcpu_load		= vmx_vcpu_load,
	.vcpu_put		= vmx_vcpu_put,
	.reset			= vmx_reset,
	.cache_reg		= vmx_cache_reg,
	.get_segments		= vmx_get_segments,
	.get_segment		= vmx_get_segment,
	.set_segment		= vmx_set_segment,
	.get_dt			= vmx_get_dt,
	.set_dt			= vmx_set_dt,
	.set_cr0		= vmx_set_cr0,
	.set_cr3		= vmx_set_cr3,
	.set_cr4		= vmx_set_cr4,
	.set_efer		= vmx_set_efer,
	.cpl			= vmx_cpl,
	.shadow			= vmx_get_shadow,
	.set_shadow		= vmx_set_shadow,
	.take_pending_dbg	= vmx_take_pending_dbg,
	.skip			= vmx_skip,
	.enter			= vmx_enter,
	.after_enter		= vmx_after_enter,
	.handle_exit		= vmx_handle_exit,
	.inject			= vmx_inject,
	.windows		= vmx_windows,
	.view			= vmx_view,
	.exit_info		= vmx_exit_info,
	.update_intercepts	= vmx_update_intercepts,
	.update_msr_access	= vmx_update_msr_access,
	.update_cpuid		= vmx_update_cpuid,
	.get_msr		= vmx_get_msr,
	.set_msr		= vmx_set_msr,
	.set_tsc		= vmx_set_tsc,
	.flush_tlb		= vmx_flush_tlb,
	.set_root		= vmx_set_root,
	.sync_debug		= vmx_sync_debug,
	.set_dr7		= vmx_set_dr7,
	.nested_exit		= vmx_nested_exit,
	.nested_intercepts	= vmx_nested_intercepts,
	.nested_pages		= vmx_nested_pages,
	.nested_fault		= vmx_nested_fault,
	.nested_get		= vmx_nested_get,
	.nested_set		= vmx_nested_set,
	.nested_smm_save	= vmx_nested_smm_save,
	.nested_smm_leave	= vmx_nested_smm_leave,
	.nested_rsm		= vmx_nested_rsm,
	.fail_entry_dump	= vmx_dump,
};

const struct backend vmx_backend = {
	.check		= vmx_check,
	.setup		= vmx_setup,
	.unsetup	= vmx_unsetup,
	.ops		= &ops,
};

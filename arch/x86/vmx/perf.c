// SPDX-License-Identifier: GPL-2.0
/*
 * The host's performance monitoring around VM entries.
 *
 * Events of perf may leave guests out, or the host; the kernel says which MSRs differ for that.
 * IA32_PERF_GLOBAL_CTRL is switched by controls of entries and exits, others by their MSR-load
 * lists, and only what differs now. PEBS writes records to linear addresses of the host, so it is
 * off in guests, and off early enough that no record is still on its way.
 *
 * The guest has no performance monitoring of its own.
 */
#include "vmx.h"
#include "insn.h"
#include "perf_pure.h"

#include <linux/gfp.h>
#include <asm/msr.h>
#include <asm/perf_event.h>

DEFINE_STATIC_KEY_FALSE(vmx_perf_wanted);

/**
 * struct vmx_perf - a page of a vCPU's
 * @entry_list: MSR-load list of entries
 * @exit_list: MSR-load list of exits
 * @last_nr: how many MSRs the kernel named last
 * @last: what it said
 * @plan: what was made of it
 */
struct vmx_perf {
	struct vmx_msr_entry entry_list[VMX_PERF_MAX];
	struct vmx_msr_entry exit_list[VMX_PERF_MAX];
	int last_nr;
	struct perf_guest_switch_msr last[VMX_PERF_MAX];
	struct vmx_perf_plan plan;
};
static_assert(sizeof(struct vmx_perf) <= PAGE_SIZE);

/* Does the kernel have anything to switch on this machine? */
void vmx_perf_setup(void)
{
	int nr = 0;

	preempt_disable();
	perf_guest_get_msrs(&nr, NULL);
	preempt_enable();
	if (nr > 0)
		static_branch_enable(&vmx_perf_wanted);
}

int vmx_perf_alloc(struct vmx_vcpu *vmx)
{
	if (!static_key_enabled(&vmx_perf_wanted))
		return 0;
	vmx->perf = (void *)__get_free_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	return vmx->perf ? 0 : -ENOMEM;
}

void vmx_perf_free(struct vmx_vcpu *vmx)
{
	free_page((unsigned long)vmx->perf);
	vmx->perf = NULL;
}

/* All of them are off. */
void vmx_perf_init(struct vmx_vcpu *vmx)
{
	if (!vmx->perf)
		return;
	vmx->perf->last_nr = 0;
	vmwrite(VM_ENTRY_MSR_LOAD_ADDR, __pa(vmx->perf->entry_list));
	vmwrite(VM_EXIT_MSR_LOAD_ADDR, __pa(vmx->perf->exit_list));
}

static bool has_global(void)
{
	return (vmx_caps.entry & VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL) &&
	       (vmx_caps.exit & VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL);
}

static void set_global(struct vmx_vcpu *vmx, const struct vmx_perf_plan *p)
{
	u32 entry = vmx->entry_ctl & ~VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL, exit = vmx_caps.exit;

	if (p->global) {
		vmwrite(GUEST_IA32_PERF_GLOBAL_CTRL, p->global_guest);
		vmwrite(HOST_IA32_PERF_GLOBAL_CTRL, p->global_host);
		entry |= VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL;
	} else {
		exit &= ~VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL;
	}
	if (entry == vmx->entry_ctl)
		return;
	vmx->entry_ctl = entry;
	vmwrite(VM_ENTRY_CONTROLS, entry);
	vmwrite(VM_EXIT_CONTROLS, exit);
}

static noinline void replan(struct vmx_vcpu *vmx, const struct perf_guest_switch_msr *msrs, int nr)
{
	struct vmx_perf_msr wanted[VMX_PERF_MAX];
	struct vmx_perf *perf = vmx->perf;
	int i;

	nr = clamp(nr, 0, VMX_PERF_MAX);
	for (i = 0; i < nr; i++)
		wanted[i] = (struct vmx_perf_msr) { .msr = msrs[i].msr, .host = msrs[i].host, .guest = msrs[i].guest };
	vmx_perf_plan(&perf->plan, wanted, nr, has_global());
	for (i = 0; i < (int)perf->plan.nr; i++) {
		const struct vmx_perf_msr *m = &perf->plan.list[i];

		perf->entry_list[i] = (struct vmx_msr_entry) { .index = m->msr, .value = m->guest };
		perf->exit_list[i] = (struct vmx_msr_entry) { .index = m->msr, .value = m->host };
	}
	vmwrite(VM_ENTRY_MSR_LOAD_COUNT, perf->plan.nr);
	vmwrite(VM_EXIT_MSR_LOAD_COUNT, perf->plan.nr);
	set_global(vmx, &perf->plan);
	vmx->pebs_off = perf->plan.pebs_off;
	memcpy(perf->last, msrs, nr * sizeof(*msrs));
	perf->last_nr = nr;
}

/* Seldom */
static bool changed(const struct vmx_perf *perf, const struct perf_guest_switch_msr *msrs, int nr)
{
	int i;

	if (nr != perf->last_nr)
		return true;
	for (i = 0; i < nr; i++)
		if (msrs[i].msr != perf->last[i].msr || msrs[i].host != perf->last[i].host ||
		    msrs[i].guest != perf->last[i].guest)
			return true;
	return false;
}

void vmx_perf_switch(struct vmx_vcpu *vmx)
{
	struct vmx_perf *perf = vmx->perf;
	const struct perf_guest_switch_msr *msrs;
	int nr = 0;

	if (unlikely(!perf))
		return;
	msrs = perf_guest_get_msrs(&nr, NULL);
	if (unlikely(changed(perf, msrs, nr)))
		replan(vmx, msrs, nr);
}

/* An entry that the CPU did not begin is followed by no exit, whose list has the host's value. */
void vmx_perf_vmfail(struct vmx_vcpu *vmx)
{
	unsigned int i;

	if (!vmx->pebs_off)
		return;
	for (i = 0; i < vmx->perf->plan.nr; i++)
		if (vmx->perf->plan.list[i].msr == MSR_IA32_PEBS_ENABLE)
			native_wrmsrl(MSR_IA32_PEBS_ENABLE, vmx->perf->plan.list[i].host);
}

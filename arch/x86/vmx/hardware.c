// SPDX-License-Identifier: GPL-2.0
/*
 * VMX on a CPU: CR4.VMXE and VMXON, the VMCSs that are active on it, VPIDs, flushing.
 *
 * A VMCS is active on one CPU at a time; the CPU may hold parts of it until VMCLEAR. Each CPU lists
 * those active on it, so that it can clear them when it goes offline; a vCPU that moves has its
 * VMCS cleared by an IPI first. Translations are flushed on the CPU that the vCPU runs on; as it
 * may have left stale ones elsewhere, it flushes whenever it comes to another CPU.
 */
#include "vmx.h"
#include "insn.h"

#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <asm/cpufeature.h>
#include <asm/io.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/perf_event.h>
#include <asm/tlbflush.h>

#define NR_VPIDS 65536

/**
 * struct vmx_cpu - one host CPU; interrupts or preemption off
 * @vmxon: region for VMXON
 * @active: VMCSs active here
 * @current_vmx: the vCPU whose VMCS is current, NULL before the first; VMX_GONE once it has left
 */
struct vmx_cpu {
	struct page *vmxon;
	struct list_head active;
	struct vmx_vcpu *current_vmx;
};

/*
 * Some guest ran here last, but its VMCS is not current any more: the branch predictor barrier is
 * due all the same.
 */
#define VMX_GONE ((struct vmx_vcpu *)1)

static DEFINE_PER_CPU(struct vmx_cpu, vmx_cpu);
static DEFINE_SPINLOCK(vpid_lock);
static unsigned long *vpids;

void vmx_insn_failed(const char *insn, u64 operand)
{
	/* VMX was switched off under this thread: the machine is going down. */
	if (!(cr4_read_shadow() & X86_CR4_VMXE))
		return;
	WARN_ONCE(1, "strata: %s failed, operand %llx\n", insn, operand);
}

/* ---- VPIDs ---- */

void vmx_vpid_get(struct vmx_vcpu *vmx)
{
	unsigned long id;

	vmx->vpid = 0;
	if (!vmx_has2(SECONDARY_EXEC_ENABLE_VPID))
		return;
	spin_lock(&vpid_lock);
	id = find_next_zero_bit(vpids, NR_VPIDS, 1);
	if (id < NR_VPIDS) {
		__set_bit(id, vpids);
		vmx->vpid = id;
	}
	spin_unlock(&vpid_lock);
}

/* Before its next owner runs anywhere it flushes: see vmx_vcpu_load(). */
void vmx_vpid_put(struct vmx_vcpu *vmx)
{
	if (!vmx->vpid)
		return;
	spin_lock(&vpid_lock);
	__clear_bit(vmx->vpid, vpids);
	spin_unlock(&vpid_lock);
	vmx->vpid = 0;
}

void vmx_flush_tlb(struct vcpu *v)
{
	to_vmx(v)->flush = true;
}

/*
 * With EPT every translation used in the guest comes from it, so that INVEPT reaches those of
 * linear addresses too, whatever their VPID (SDM, "Operations that Invalidate Cached Mappings").
 */
void vmx_flush_now(struct vmx_vcpu *vmx)
{
	vmx->flush = false;
	if (vmx_caps.ept_vpid & VMX_EPT_EXTENT_CONTEXT_BIT)
		invept(VMX_EPT_EXTENT_CONTEXT, vmx_eptp(vmx));
	else
		invept(VMX_EPT_EXTENT_GLOBAL, 0);
}

/* ---- per-CPU areas ---- */

void vmx_unsetup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);

		if (c->vmxon)
			__free_page(c->vmxon);
		c->vmxon = NULL;
	}
	bitmap_free(vpids);
	vpids = NULL;
	vmx_l1d_unsetup();
}

int vmx_setup(void)
{
	int cpu, ret;

	ret = vmx_l1d_setup();
	if (ret)
		return ret;
	vpids = bitmap_zalloc(NR_VPIDS, GFP_KERNEL);
	if (!vpids)
		goto err;
	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);

		INIT_LIST_HEAD(&c->active);
		c->vmxon = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!c->vmxon)
			goto err;
		*(u32 *)page_address(c->vmxon) = vmx_caps.basic & GENMASK(30, 0);
	}
	vmx_host_const();
	vmx_timer_setup();
	vmx_perf_setup();
	vmx_limit_cpuid();
	vmx_say();
	return 0;

err:
	vmx_unsetup();
	return -ENOMEM;
}

/* ---- on and off ---- */

static int check_cpu(void)
{
	/* The kernel has seen to it that the one is set that it runs under. */
	u64 on = FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX | FEAT_CTL_VMX_ENABLED_INSIDE_SMX, feat_ctl;

	rdmsrl(MSR_IA32_FEAT_CTL, feat_ctl);
	if (!(feat_ctl & FEAT_CTL_LOCKED) || !(feat_ctl & on)) {
		pr_err_ratelimited("strata: VMX is disabled by the firmware on CPU %d (IA32_FEATURE_CONTROL %llx)\n",
				   smp_processor_id(), feat_ctl);
		return -EOPNOTSUPP;
	}
	if (!vmx_caps_match()) {
		pr_err_ratelimited("strata: VMX of CPU %d differs from the others'\n",
				   smp_processor_id());
		return -EOPNOTSUPP;
	}
	return 0;
}

int vmx_enable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	int ret;

	if (cr4_read_shadow() & X86_CR4_VMXE)
		return -EBUSY;
	ret = check_cpu();
	if (ret)
		return ret;
	c->current_vmx = NULL;
	vmx_l1d_show();
	intel_pt_handle_vmx(1);
	cr4_set_bits(X86_CR4_VMXE);
	if (!insn_vmxon(page_to_phys(c->vmxon))) {
		cr4_clear_bits(X86_CR4_VMXE);
		intel_pt_handle_vmx(0);
		pr_err_ratelimited("strata: VMXON failed on CPU %d\n", smp_processor_id());
		return -EIO;
	}
	/* What an earlier user of VMX left in the TLB is not ours. */
	invept(VMX_EPT_EXTENT_GLOBAL, 0);
	if (vmx_has2(SECONDARY_EXEC_ENABLE_VPID))
		invvpid(VMX_VPID_EXTENT_ALL_CONTEXT, 0);
	return 0;
}

/* The VMCS's state goes to memory; on the CPU it is active on, interrupts off. */
static void clear_here(struct vmx_vcpu *vmx)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);

	if (!insn_vmclear(__pa(vmx->vmcs)))
		vmx_insn_failed("vmclear", __pa(vmx->vmcs));
	if (c->current_vmx == vmx)
		c->current_vmx = VMX_GONE;
	vmx->sw.launched = 0;
	list_del(&vmx->link);
	/*
	 * Pairs with vmx_vmcs_clear() and move_here() on other CPUs: the list is left before the
	 * vCPU goes elsewhere.
	 */
	smp_store_release(&vmx->loaded_cpu, -1);
}

void vmx_disable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	struct vmx_vcpu *vmx, *next;

	if (!(__read_cr4() & X86_CR4_VMXE))
		return;
	list_for_each_entry_safe(vmx, next, &c->active, link)
		clear_here(vmx);
	insn_vmxoff();
	cr4_clear_bits(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
}

/*
 * What the CPU still holds of VMCSs goes to memory, where the crash kernel finds it, and VMX off,
 * as it blocks INIT. The list may be in the middle of a change: only its forward links are looked
 * at, and nothing is written to it. Faults are seen to: see insn.h.
 */
void vmx_crash(void)
{
	const struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	const struct vmx_vcpu *vmx;

	if (!(__read_cr4() & X86_CR4_VMXE))
		return;
	list_for_each_entry(vmx, &c->active, link)
		insn_vmclear(__pa(vmx->vmcs));
	insn_vmxoff();
	cr4_clear_bits(X86_CR4_VMXE);
}

/* ---- which VMCS is where ---- */

static void clear_ipi(void *data)
{
	struct vmx_vcpu *vmx = data;

	/* The CPU may have gone offline and come back meanwhile. */
	if (vmx->loaded_cpu == smp_processor_id())
		clear_here(vmx);
}

void vmx_vmcs_clear(struct vmx_vcpu *vmx)
{
	int cpu = smp_load_acquire(&vmx->loaded_cpu);

	if (cpu >= 0)
		smp_call_function_single(cpu, clear_ipi, vmx, 1);
}

static void move_here(struct vmx_vcpu *vmx, struct vmx_cpu *c, int cpu)
{
	unsigned long flags;

	vmx_vmcs_clear(vmx);
	local_irq_save(flags);
	/* Whole before it can be found: see vmx_crash(). */
	list_add_rcu(&vmx->link, &c->active);
	vmx->loaded_cpu = cpu;
	local_irq_restore(flags);
}

void vmx_vcpu_load(struct vcpu *v, int cpu)
{
	struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);
	struct vmx_vcpu *vmx = to_vmx(v);
	bool moved = vmx->loaded_cpu != cpu;

	if (unlikely(moved))
		move_here(vmx, c, cpu);
	if (c->current_vmx != vmx) {
		/* Another guest ran here: its branches must not steer this one's. */
		if (c->current_vmx)
			indirect_branch_prediction_barrier();
		if (!insn_vmptrld(__pa(vmx->vmcs)))
			vmx_insn_failed("vmptrld", __pa(vmx->vmcs));
		c->current_vmx = vmx;
	}
	if (unlikely(moved)) {
		vmx_host_cpu(vmx);
		vmx->flush = true;
	}
	vmx->l1d_dirty = true;
}

void vmx_vcpu_put(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (vmx->host.loaded)
		vmx_host_restore(vmx);
}

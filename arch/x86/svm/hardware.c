// SPDX-License-Identifier: GPL-2.0
/*
 * SVM on a CPU: capabilities, EFER.SVME, host save areas, ASIDs.
 */
#include "nested.h"

#include <linux/moduleparam.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/spec-ctrl.h>
#include <asm/reboot.h>

static bool nrips = true, decode_assists = true, clean_bits = true, flush_by_asid = true,
	    pause_filter = true, virt_spec_ctrl = true, vgif = true;
module_param(nrips, bool, 0444);
MODULE_PARM_DESC(nrips, "use next-RIP save (SVM)");
module_param(decode_assists, bool, 0444);
MODULE_PARM_DESC(decode_assists, "use decode assists (SVM)");
module_param(clean_bits, bool, 0444);
MODULE_PARM_DESC(clean_bits, "use VMCB clean bits (SVM)");
module_param(flush_by_asid, bool, 0444);
MODULE_PARM_DESC(flush_by_asid, "use flush by ASID (SVM)");
module_param(pause_filter, bool, 0444);
MODULE_PARM_DESC(pause_filter, "use the PAUSE filter (SVM)");
module_param(virt_spec_ctrl, bool, 0444);
MODULE_PARM_DESC(virt_spec_ctrl, "let the CPU switch SPEC_CTRL (SVM)");
module_param(vgif, bool, 0444);
MODULE_PARM_DESC(vgif, "offer virtual GIF to guests that are hypervisors (SVM)");

struct svm_caps svm_caps;

DEFINE_PER_CPU(struct svm_cpu, svm_cpu);

/* Clean bits, flushes of one ASID and vGIF need nothing from the CPU. */
static u32 nested_features(void)
{
	const struct { bool on; u8 bit; } feature[] = {
		{ true, 0 },	/* nested paging */
		{ svm_caps.nrips, 3 },
		{ clean_bits, 5 },
		{ flush_by_asid, 6 },
		{ svm_caps.pause_filter, 10 },
		{ svm_caps.pause_threshold, 12 },
		{ vgif, 16 },
	};
	unsigned int i;
	u32 edx = 0;

	for (i = 0; i < ARRAY_SIZE(feature); i++)
		edx |= feature[i].on ? BIT(feature[i].bit) : 0;
	return edx;
}

/* What guests that are hypervisors find: CPUID has what is honoured. */
static void offer_nested(struct backend_caps *caps)
{
	static const u32 msrs[] = { MSR_VM_CR, MSR_VM_HSAVE_PA };

	caps->nested_msrs = msrs;
	caps->nr_nested_msrs = ARRAY_SIZE(msrs);
	caps->nested_state_size = sizeof(struct kvm_nested_state) + KVM_STATE_NESTED_SVM_VMCB_SIZE;
	cpuid_host_set(0x80000001, 0, LEAF_ECX, BIT(2));
	/* Revision 1; ASIDs are virtual, and as many as small hypervisors expect. */
	cpuid_host_set(SVM_CPUID_FUNC, 0, LEAF_EAX, 1);
	cpuid_host_set(SVM_CPUID_FUNC, 0, LEAF_EBX, 16);
	cpuid_host_set(SVM_CPUID_FUNC, 0, LEAF_EDX, nested_features());
}

/* By the names of their parameters */
static void say_caps(void)
{
	pr_info("strata: SVM with nested paging%s%s%s%s%s%s\n", svm_caps.nrips ? " nrips" : "",
		svm_caps.decode_assists ? " decode_assists" : "", svm_caps.clean_bits ? " clean_bits" : "",
		svm_caps.flush_by_asid ? " flush_by_asid" : "", svm_caps.pause_filter ? " pause_filter" : "",
		svm_caps.virt_spec_ctrl ? " virt_spec_ctrl" : "");
}

int svm_check(struct backend_caps *caps)
{
	if (!boot_cpu_has(X86_FEATURE_SVM))
		return -ENODEV;
	if (!boot_cpu_has(X86_FEATURE_NPT)) {
		pr_err("strata: this CPU's SVM lacks nested paging (CPUID 8000_000A EDX bit 0)\n");
		return -EOPNOTSUPP;
	}
	svm_caps = (struct svm_caps) {
		.nrips		 = nrips && boot_cpu_has(X86_FEATURE_NRIPS),
		.decode_assists	 = decode_assists && boot_cpu_has(X86_FEATURE_DECODEASSISTS),
		/* Watched, they are used by a CPU that does not know them, too. */
		.clean_bits	 = clean_bits && (boot_cpu_has(X86_FEATURE_VMCBCLEAN) || svm_clean_check()),
		.flush_by_asid	 = flush_by_asid && boot_cpu_has(X86_FEATURE_FLUSHBYASID),
		.pause_filter	 = pause_filter && boot_cpu_has(X86_FEATURE_PAUSEFILTER),
		.pause_threshold = pause_filter && boot_cpu_has(X86_FEATURE_PFTHRESHOLD),
		.virt_spec_ctrl	 = virt_spec_ctrl && boot_cpu_has(X86_FEATURE_V_SPEC_CTRL),
		.nr_asids	 = cpuid_ebx(SVM_CPUID_FUNC),
	};
	*caps = (struct backend_caps) {
		.name			= "SVM",
		.isa			= STRATA_ISA_SVM,
		.vcpu_size		= sizeof(struct svm_vcpu),
		.tdp_format		= &tdp_format_npt,
		.tdp_levels		= pgtable_l5_enabled() ? 5 : 4,
		.tdp_max_level		= boot_cpu_has(X86_FEATURE_GBPAGES) ? 3 : 2,
		.tdp_ad			= true,
		.regs_in_memory		= true,
		.leaves_shadow		= true,
		.pdptes_walked		= true,
		.nrips			= svm_caps.nrips,
		.allowed_exit_disables	= KVM_X86_DISABLE_EXITS_PAUSE | KVM_X86_DISABLE_EXITS_HLT |
					  (boot_cpu_has(X86_FEATURE_MWAIT) ? KVM_X86_DISABLE_EXITS_MWAIT : 0),
	};
	if (nested_enabled)
		offer_nested(caps);
	say_caps();
	return 0;
}

void svm_unsetup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *c = per_cpu_ptr(&svm_cpu, cpu);

		if (c->hsave)
			__free_page(c->hsave);
		if (c->host)
			__free_page(c->host);
		c->hsave = c->host = NULL;
	}
	free_pages((unsigned long)__va(__sme_clr(svm_iopm_pa)), 2);
	svm_clean_unsetup();
}

static int svm_setup_iopm(void)
{
	struct page *pages = alloc_pages(GFP_KERNEL, 2);

	if (!pages)
		return -ENOMEM;
	/* Every port is intercepted; nothing is ever passed through. */
	memset(page_address(pages), 0xff, PAGE_SIZE << 2);
	svm_iopm_pa = __sme_set(page_to_phys(pages));
	return 0;
}

int svm_setup(void)
{
	int cpu, ret;

	ret = svm_clean_setup();
	if (ret)
		return ret;
	if (svm_setup_iopm()) {
		svm_clean_unsetup();
		return -ENOMEM;
	}
	for_each_possible_cpu(cpu) {
		struct svm_cpu *c = per_cpu_ptr(&svm_cpu, cpu);

		c->hsave = alloc_page(GFP_KERNEL | __GFP_ZERO);
		c->host = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!c->hsave || !c->host) {
			svm_unsetup();
			return -ENOMEM;
		}
		svm_asids_reset(&c->asids, svm_caps.nr_asids);
	}
	return 0;
}

int svm_enable(void)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);
	u64 efer, vm_cr;

	rdmsrl(MSR_VM_CR, vm_cr);
	if (vm_cr & BIT(4)) {	/* SVMDIS */
		pr_err_ratelimited("strata: SVM is disabled by the firmware on CPU %d\n",
				   smp_processor_id());
		return -EOPNOTSUPP;
	}
	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME)
		return -EBUSY;
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, __sme_set(page_to_phys(c->hsave)));
	svm_asids_reset(&c->asids, svm_caps.nr_asids);
	c->vmcb = NULL;
	return 0;
}

void svm_disable(void)
{
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (!(efer & EFER_SVME))
		return;
	/* GIF may be 0 if this is a crash in the middle of a world switch; STGI needs SVME. */
	asm volatile("stgi" ::: "memory");
	wrmsrl(MSR_VM_HSAVE_PA, 0);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
}

void svm_new_asid(struct svm_vcpu *svm)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);
	struct svm_asid *a = svm->asid;
	bool known = a->held == c->asids.gen;

	svm->vmcb->control.tlb_ctl =
		svm_asid_take(&c->asids, a, svm_caps.nr_asids, svm_caps.flush_by_asid);
	/* The CPU may have been off since it saw this control block. */
	if (!known)
		svm->vmcb->control.clean = 0;
	vmcb_update(svm->vmcb, control.asid, a->asid, CLEAN_ASID);
}

void svm_use_asid(struct svm_vcpu *svm, struct svm_asid *a)
{
	svm->asid = a;
	vmcb_update(svm->vmcb, control.asid, a->asid, CLEAN_ASID);
}

void svm_flush_tlb(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	unsigned int i;

	svm_flush_asid(&svm->asid01);
	for (i = 0; i < NESTED_CONTEXTS; i++)
		svm_flush_asid(&svm->nested.asid[i]);
}

void svm_flush_addr(struct svm_vcpu *svm, const struct svm_asid *a, u64 linear)
{
	preempt_disable();
	/* On another CPU, or with a flush to come, there is nothing that could be used. */
	if (a->gen == this_cpu_read(svm_cpu.asids.gen))
		asm volatile("invlpga %0, %1" : : "a" (linear), "c" (a->asid) : "memory");
	preempt_enable();
}

/* Nothing that the vCPU left on a CPU is of use on another one. */
static void forget_cpu(struct svm_vcpu *svm)
{
	unsigned int i;

	svm->asid01.gen = svm->asid01.held = 0;
	for (i = 0; i < NESTED_CONTEXTS; i++)
		svm->nested.asid[i].gen = svm->nested.asid[i].held = 0;
	svm->vmcb01->control.clean = 0;
	if (svm->nested.vmcb02)
		svm->nested.vmcb02->control.clean = 0;
}

void svm_vcpu_load(struct vcpu *v, int cpu)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_cpu *c = per_cpu_ptr(&svm_cpu, cpu);

	if (v->virt.last_cpu != cpu)
		forget_cpu(svm);
	if (c->vmcb != svm->vmcb) {
		/* Another guest ran here, or this one's: its branches must not steer this one's. */
		if (c->vmcb)
			indirect_branch_prediction_barrier();
		c->vmcb = svm->vmcb;
	}
	svm->sw.host_pa = __sme_set(page_to_phys(c->host));
	/*
	 * Faults if a reboot has switched SVM off: then the vCPU is never entered again
	 * (virt_hardware_load()).
	 */
	asm volatile("1: vmsave %0\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b) : : "a" (svm->sw.host_pa) : "memory");
}

void svm_vcpu_put(struct vcpu *v)
{
}

/* A vCPU's VMCBs are going: their addresses may come back as another's. */
static void forget_vmcbs(void *svm_vcpu)
{
	const struct svm_vcpu *svm = svm_vcpu;
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);

	/*
	 * What comes next must be told from "nobody ran here", so that the barrier is not skipped.
	 */
	if (c->vmcb && (c->vmcb == svm->vmcb01 || c->vmcb == svm->nested.vmcb02))
		c->vmcb = (struct vmcb *)1;
}

void svm_vcpu_destroy(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	if (!svm->vmcb01)
		return;
	if (v->virt.last_cpu >= 0)
		on_each_cpu(forget_vmcbs, svm, 1);
	nested_free(svm);
	svm_clean_vcpu_destroy(svm);
	svm_msrpm_free(svm);
	free_page((unsigned long)svm->vmcb01);
	svm->vmcb01 = svm->vmcb = NULL;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * VMRUN and #VMEXIT of a guest hypervisor: the switch between the levels.
 *
 * L1's state while L2 runs is in 01, as the CPU's is in the host save area; nothing is put into the
 * page that L1 gave for it.
 */
#include "nested.h"
#include "nested_check.h"
#include "../exit.h"
#include "../trace_queue.h"

#include <linux/slab.h>
#include <asm/debugreg.h>
#include <asm/nospec-branch.h>

int nested_alloc(struct svm_vcpu *svm)
{
	struct svm_nested *n = &svm->nested;

	if (n->vmcb02)
		return 0;
	n->vmcb12 = (struct vmcb *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	n->spare12 = (struct vmcb *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	n->msrpm02 = (u32 *)__get_free_pages(GFP_KERNEL_ACCOUNT, 1);
	if (!n->vmcb12 || !n->spare12 || !n->msrpm02)
		goto err_free;
	n->vmcb02 = (struct vmcb *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!n->vmcb02)
		goto err_free;
	memset(n->msrpm02, 0xff, 2 * PAGE_SIZE);
	return 0;

err_free:
	nested_free(svm);
	return -ENOMEM;
}

void nested_free(struct svm_vcpu *svm)
{
	struct svm_nested *n = &svm->nested;

	free_page((unsigned long)n->vmcb12);
	free_page((unsigned long)n->spare12);
	free_pages((unsigned long)n->msrpm02, 1);
	free_page((unsigned long)n->vmcb02);
	n->vmcb12 = n->spare12 = n->vmcb02 = NULL;
	n->msrpm02 = NULL;
}

static void use_vmcb(struct svm_vcpu *svm, struct vmcb *vmcb, struct svm_asid *asid)
{
	svm->vmcb = vmcb;
	svm->sw.vmcb_pa = __sme_set(__pa(vmcb));
	svm_use_asid(svm, asid);
	this_cpu_write(svm_cpu.vmcb, vmcb);
}

/*
 * What L1 relies on when it does not flush the predictors itself. To the CPU L1 and L2 are one
 * guest, whose kernels have the same privilege.
 */
static bool l1_has_ibrs(const struct vcpu *v)
{
	return guest_has(v, GUEST_SPEC_CTRL) || guest_has(v, GUEST_AUTOIBRS);
}

struct svm_asid *nested_asid(struct svm_vcpu *svm)
{
	return &svm->nested.asid[mmu_nested_context(&svm->vcpu)];
}

void nested_use_02(struct svm_vcpu *svm)
{
	struct vmcb *vmcb01 = svm->vmcb01;

	/* Nobody waits for L1's window any more; what is still waiting asks anew. */
	if (vmcb_intercepts(vmcb01, INTERCEPT_VINTR)) {
		vmcb01->control.int_ctl &= ~INT_CTL_VIRQ;
		vmcb_pass(vmcb01, INTERCEPT_VINTR);
	}
	use_vmcb(svm, svm->nested.vmcb02, nested_asid(svm));
	svm->vcpu.guest_mode = true;
	svm->vcpu.virt.stats.guest_mode = true;
}

void nested_use_01(struct svm_vcpu *svm)
{
	mmu_nested_leave(&svm->vcpu);
	/* On this CPU; where else L2 ran svm_vcpu_load() sees to it. */
	preempt_disable();
	if (l1_has_ibrs(&svm->vcpu))
		indirect_branch_prediction_barrier();
	use_vmcb(svm, svm->vmcb01, &svm->asid01);
	preempt_enable();
	vmcb_update(svm->vmcb, control.nested_cr3, svm->vcpu.mmu.root_hpa, CLEAN_NPT);
	svm->vcpu.guest_mode = false;
	svm->vcpu.virt.stats.guest_mode = false;
	svm->own_tpr = false;
	svm->nested.window = false;
	svm->nested.pristine = false;
	/* Whoever leaves L2 by #VMEXIT knows better. */
	svm->nested.current_gpa = NESTED_NO_CURRENT;
}

void nested_limits(struct vcpu *v, struct svm_limits *l)
{
	*l = (struct svm_limits) {
		.cr4_reserved = v->cpu.cr4_reserved,
		.efer_allowed = v->cpu.efer_allowed,
		.maxphyaddr = v->cpu.maxphyaddr,
		.long_mode = guest_has(v, GUEST_LONG_MODE),
		.nested_paging = true,
		.paging = v->cr0 & X86_CR0_PG,
	};
}

void nested_entry(const struct vmcb *vmcb, struct svm_entry *e)
{
	const struct vmcb_control_area *c = &vmcb->control;
	const struct vmcb_save_area *s = &vmcb->save;

	*e = (struct svm_entry) {
		.vmrun_intercepted = vmcb_intercepts(vmcb, INTERCEPT_VMRUN),
		.nested_paging = c->nested_ctl & SVM_NESTED_CTL_NP_ENABLE,
		.asid = c->asid,
		.event_inj = c->event_inj,
		.iopm = c->iopm_base_pa,
		.msrpm = c->msrpm_base_pa,
		.ncr3 = c->nested_cr3,
		.g_pat = s->g_pat,
		.efer = s->efer,
		.cr0 = s->cr0,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.dr6 = s->dr6,
		.dr7 = s->dr7,
		.cs_attrib = s->cs.attrib,
	};
}

/*
 * What L1 asks to be injected. A soft event has the length 0: where it returns to is in 12. Nothing
 * but exceptions has an error code.
 */
struct event nested_injected(const struct vmcb *vmcb12)
{
	u32 inj = vmcb12->control.event_inj;
	struct event e = { .type = EVENT_NONE };

	if (!(inj & SVM_EVTINJ_VALID))
		return e;
	e.type = svm_event_type(inj);
	e.vector = e.type == EVENT_NMI ? EVENT_NMI_VECTOR : inj & SVM_EVTINJ_VEC_MASK;
	e.has_error = (inj & SVM_EVTINJ_VALID_ERR) && e.type == EVENT_EXCEPTION;
	e.error = e.has_error ? vmcb12->control.event_inj_err : 0;
	return e;
}

/* L1's registers rest in 01. */
static void save_l1(struct svm_vcpu *svm)
{
	struct vcpu *v = &svm->vcpu;
	struct vmcb_save_area *s = &svm->vmcb01->save;

	svm->nested.l1_cr0 = vcpu_cr0(v);
	svm->nested.l1_cr4 = vcpu_cr4(v);
	svm->nested.l1_pat = v->cpu.pat;
	s->cr3 = vcpu_cr3(v);
	s->rip = v->regs[REG_RIP];
	s->rsp = v->regs[REG_RSP];
	s->rax = v->regs[REG_RAX];
	s->rflags = v->regs[REG_RFLAGS];
}

static u8 entry_cpl(const struct vmcb_save_area *s)
{
	if (!(s->cr0 & X86_CR0_PE))
		return 0;
	return s->rflags & X86_EFLAGS_VM ? 3 : s->cpl & 3;
}

#define RFLAGS_DEFINED	0x3f7fd7ul

/* What a hypervisor seldom touches, unless its clean bits say that it did not. */
static void load_segments(struct vmcb *vmcb02, const struct vmcb_save_area *from, u32 kept)
{
	struct vmcb_save_area *to = &vmcb02->save;

	if (!(kept & BIT(CLEAN_SEG))) {
		to->es = from->es;
		to->cs = from->cs;
		to->ss = from->ss;
		to->ds = from->ds;
		vmcb_dirty(vmcb02, CLEAN_SEG);
	}
	if (!(kept & BIT(CLEAN_DT))) {
		to->gdtr = from->gdtr;
		to->idtr = from->idtr;
		vmcb_dirty(vmcb02, CLEAN_DT);
	}
	vmcb_update(vmcb02, save.cpl, entry_cpl(from), CLEAN_SEG);
}

/*
 * L2's registers, from the checked copy (APM vol. 2, "VMRUN Instruction", "Loading guest state").
 */
static void load_l2(struct svm_vcpu *svm)
{
	const struct vmcb_save_area *from = &svm->nested.vmcb12->save;
	struct vmcb *vmcb02 = svm->nested.vmcb02;
	struct vcpu *v = &svm->vcpu;
	const struct nested_regs regs = {
		.cr0	= (u32)from->cr0 | X86_CR0_ET,
		.cr3	= from->cr3,
		.cr4	= from->cr4,
		.efer	= svm_entry_efer(from->efer, from->cr0),
		.rip	= from->rip,
		.rsp	= from->rsp,
		.rflags	= (from->rflags & RFLAGS_DEFINED) | X86_EFLAGS_FIXED,
	};

	load_segments(vmcb02, from, svm->nested.kept);
	vmcb_update(vmcb02, save.efer, regs.efer, CLEAN_CR);
	vmcb_update(vmcb02, save.cr0, regs.cr0 & ~(X86_CR0_CD | X86_CR0_NW), CLEAN_CR);
	vmcb_update(vmcb02, save.cr3, regs.cr3, CLEAN_CR);
	vmcb_update(vmcb02, save.cr4, svm_cr4(regs.cr4), CLEAN_CR);
	if (l1_pages(svm))
		v->cpu.pat = from->g_pat;
	vmcb_update(vmcb02, save.g_pat, v->cpu.pat, CLEAN_NPT);
	nested_switch_regs(v, &regs);
	vcpu_set_reg(v, REG_RAX, from->rax);
	v->cr2 = from->cr2;
	debug_switch(v, from->dr6, from->dr7);
}

int nested_enter_mmu(struct svm_vcpu *svm, u64 l1_pat)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	const struct mmu_nested_conf conf = {
		.format = l1_pages(svm) ? NESTED_NPT : NESTED_NONE,
		.asid = c12->asid,
		.root = c12->nested_cr3,
		.cr4 = svm->vmcb01->save.cr4,	/* MCE may be the host's and means nothing here */
		.efer = svm->vmcb01->save.efer,
		.pat = l1_pat,
	};

	return mmu_nested_enter(&svm->vcpu, &conf);
}

/* Values that are reserved, or not offered, flush everything. */

static void flush_for_l1(struct svm_vcpu *svm)
{
	const struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;
	struct vcpu *v = &svm->vcpu;

	if (likely(c12->tlb_ctl == TLB_NOTHING))
		return;
	if ((c12->tlb_ctl == TLB_THIS || c12->tlb_ctl == TLB_THIS_LOCAL) &&
	    guest_has(v, GUEST_FLUSH_BY_ASID)) {
		mmu_nested_flush_asid(v, c12->asid);
		return;
	}
	mmu_nested_flush(v);
	svm_flush_tlb(v);
}

/*
 * To L1 VMRUN is one instruction, which #VMEXIT completes: then comes the trap of L1's TF (APM vol.
 * 2, "VMRUN and TF/RF Bits in EFLAGS").
 */
static void trap_behind_vmrun(struct svm_vcpu *svm, unsigned long l1_rflags)
{
	if (unlikely(l1_rflags & X86_EFLAGS_TF))
		event_trap(&svm->vcpu.events, DR_STEP, 0);
}

static enum exit_result refuse(struct svm_vcpu *svm, u64 gpa)
{
	struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;

	c12->exit_code = c12->exit_code_hi = ~0u;
	c12->exit_info_1 = c12->exit_info_2 = 0;
	c12->exit_int_info = c12->exit_int_info_err = 0;
	svm->nested.gif = false;
	if (nested_copy_refusal(svm, gpa))
		event_raise_triple(&svm->vcpu.events);
	trap_behind_vmrun(svm, svm->vcpu.regs[REG_RFLAGS]);
	return EXIT_RESUME;
}

enum exit_result nested_vmrun(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_limits limits;
	struct svm_entry entry;
	struct event injected;
	unsigned long rip = v->regs[REG_RIP], rflags;
	u8 shadow = svm_shadow(v);
	int stale;
	u64 gpa;

	if (nested_insn_faults(v))
		return EXIT_RESUME;
	gpa = nested_insn_address(v);
	if (nested_alloc(svm))
		return exit_error(v, -ENOMEM);
	if (!nested_page_address(v, gpa) || nested_copy_in(svm, gpa)) {
		vcpu_raise_gp(v);
		return EXIT_RESUME;
	}
	if (!svm_skip(v))
		return EXIT_RESUME;	/* the code is gone: L1 faults on its own when it is entered again */
	rflags = v->regs[REG_RFLAGS];
	if (unlikely(rflags & X86_EFLAGS_RF))
		vcpu_set_reg(v, REG_RFLAGS, rflags & ~X86_EFLAGS_RF);
	v->virt.stats.nested_run++;
	vcpu_need_reg(v, REG_CR0);
	nested_limits(v, &limits);
	nested_entry(svm->nested.vmcb12, &entry);
	if (svm_check_entry(&entry, &limits))
		return refuse(svm, gpa);
	flush_for_l1(svm);
	stale = nested_enter_mmu(svm, v->cpu.pat);
	if (stale < 0) {
		vcpu_set_reg(v, REG_RIP, rip);
		vcpu_set_reg(v, REG_RFLAGS, rflags);
		svm_set_shadow(v, shadow);
		return exit_error(v, stale);
	}
	svm->nested.vmcb12_gpa = gpa;
	save_l1(svm);
	nested_use_02(svm);
	nested_build_controls(svm);
	load_l2(svm);
	if (stale)
		svm_flush_asid(svm->asid);
	svm->nested.gif = true;
	injected = nested_injected(svm->nested.vmcb12);
	event_nested_begin(&v->events, &injected);
	/* A map that is not there intercepts nothing the CPU could tell L1 about. */
	if (nested_merge_msrpm(svm))
		return nested_vmexit(svm, SVM_EXIT_ERR, 0, 0, NULL);
	return EXIT_RESUME;
}

/* EXITINTINFO of an event whose delivery the exit interrupted */
static void put_vectoring(struct vmcb_control_area *c12, const struct event *e)
{
	c12->exit_int_info = c12->exit_int_info_err = 0;
	if (!e->type)
		return;
	c12->exit_int_info = e->vector | svm_inject_type(e) | SVM_EXITINTINFO_VALID |
			     (e->has_error ? SVM_EXITINTINFO_VALID_ERR : 0);
	c12->exit_int_info_err = e->has_error ? e->error : 0;
}

/* L2's registers, as the CPU saves them (APM vol. 2, "#VMEXIT") */
static void save_l2(struct svm_vcpu *svm)
{
	const struct vmcb_save_area *from = &svm->nested.vmcb02->save;
	struct vmcb_save_area *to = &svm->nested.vmcb12->save;
	struct vcpu *v = &svm->vcpu;

	to->es = from->es;
	to->cs = from->cs;
	to->ss = from->ss;
	to->ds = from->ds;
	to->gdtr = from->gdtr;
	to->idtr = from->idtr;
	to->cpl = from->cpl;
	to->efer = v->efer;
	to->cr0 = vcpu_cr0(v);
	to->cr3 = vcpu_cr3(v);
	to->cr4 = vcpu_cr4(v);
	to->dr6 = v->cpu.debug.dr6;
	to->dr7 = v->cpu.debug.dr7;
	to->rflags = vcpu_rflags(v);
	to->rip = vcpu_rip(v);
	to->rsp = vcpu_reg(v, REG_RSP);
	to->rax = vcpu_reg(v, REG_RAX);
	to->cr2 = v->cr2;
	if (l1_pages(svm))
		to->g_pat = v->cpu.pat;
}

static void save_controls(struct svm_vcpu *svm, s64 code, u64 info1, u64 info2)
{
	const struct vmcb_control_area *c02 = &svm->nested.vmcb02->control;
	struct vmcb_control_area *c12 = &svm->nested.vmcb12->control;

	nested_sync_virq(svm);
	c12->int_state = c02->int_state & SVM_INTERRUPT_SHADOW_MASK;
	c12->exit_code = code;
	c12->exit_code_hi = code >> 32;
	c12->exit_info_1 = info1;
	c12->exit_info_2 = info2;
	c12->event_inj &= ~SVM_EVTINJ_VALID;
	/* The CPU's, if it is the CPU's exit */
	c12->next_rip = svm_caps.nrips && c02->exit_code == (u32)code ? c02->next_rip : 0;
}

void nested_load_l1(struct svm_vcpu *svm)
{
	const struct vmcb_save_area *s = &svm->vmcb01->save;
	struct vcpu *v = &svm->vcpu;
	const struct nested_regs regs = {
		.cr0	= svm->nested.l1_cr0 | X86_CR0_PE,
		.cr3	= s->cr3,
		.cr4	= svm->nested.l1_cr4,
		.efer	= s->efer,
		.rip	= s->rip,
		.rsp	= s->rsp,
		.rflags	= s->rflags & ~X86_EFLAGS_VM,
	};

	nested_switch_regs(v, &regs);
	vcpu_set_reg(v, REG_RAX, s->rax);
	svm->vmcb01->save.cpl = 0;
	v->cpu.pat = svm->nested.l1_pat;
	debug_switch(v, v->cpu.debug.dr6, DR7_INIT);
}

/* An exception whose own exit is L1's. */
static noinline void trace_exception(struct vcpu *v, s64 code, u64 info1)
{
	const struct event e = { .type = EVENT_EXCEPTION, .vector = code - SVM_EXIT_EXCP_BASE, .error = info1 };

	if (code >= SVM_EXIT_EXCP_BASE && code < SVM_EXIT_EXCP_BASE + 32)
		trace_strata_event_intercepted(v, CAUSE_EXCEPTION, &e);
}

enum exit_result nested_vmexit(struct svm_vcpu *svm, s64 code, u64 info1, u64 info2,
			       const struct event_plan *p)
{
	struct vcpu *v = &svm->vcpu;
	struct event_plan own;

	if (!p) {
		own = (struct event_plan) { };
		event_nested_leave(&v->events, &own);
		if (trace_strata_event_intercepted_enabled())
			trace_exception(v, code, info1);
		/* An entry that was refused delivered nothing. */
		if (code == SVM_EXIT_ERR)
			own.vectoring.type = EVENT_NONE;
		p = &own;
	}
	svm->step = STEP_NOT;
	save_controls(svm, code, info1, info2);
	put_vectoring(&svm->nested.vmcb12->control, &p->vectoring);
	save_l2(svm);
	nested_use_01(svm);
	nested_load_l1(svm);
	svm->nested.gif = false;
	/* Without a place to tell L1 about it there is no way on. */
	if (nested_copy_out(svm, svm->nested.vmcb12_gpa)) {
		event_raise_triple(&v->events);
		return EXIT_RESUME;
	}
	svm->nested.current_gpa = svm->nested.vmcb12_gpa;
	if (cr_pae_paging(v) && mmu_load_pdptrs(v, v->cr3))
		event_raise_triple(&v->events);
	trap_behind_vmrun(svm, v->regs[REG_RFLAGS]);
	return EXIT_RESUME;
}

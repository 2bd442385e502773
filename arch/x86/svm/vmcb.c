// SPDX-License-Identifier: GPL-2.0
/*
 * The VMCB of a vCPU: set-up, reset, and registers in and out.
 */
#include "nested.h"

#include <linux/slab.h>
#include <asm/debugreg.h>

u64 svm_iopm_pa;

/*
 * #MC belongs to the host; #AC and #DB can recur without end inside one instruction, so that only
 * an intercept gets the CPU back.
 */
/* #UD for VMCALL, which is to work here as well */
#define HOST_EXCEPTIONS (BIT(MC_VECTOR) | BIT(AC_VECTOR) | BIT(DB_VECTOR) | BIT(UD_VECTOR))

static const u8 always_intercepted[] = {
	INTERCEPT_INTR, INTERCEPT_NMI, INTERCEPT_SMI, INTERCEPT_INIT, INTERCEPT_SELECTIVE_CR0, INTERCEPT_CR4_READ, INTERCEPT_CR4_WRITE,
	INTERCEPT_CR8_WRITE, INTERCEPT_RDPMC, INTERCEPT_CPUID, INTERCEPT_INVD, INTERCEPT_INVLPGA,
	INTERCEPT_IOIO_PROT, INTERCEPT_MSR_PROT, INTERCEPT_TASK_SWITCH, INTERCEPT_SHUTDOWN, INTERCEPT_RSM, INTERCEPT_VMRUN,
	INTERCEPT_VMMCALL, INTERCEPT_VMLOAD, INTERCEPT_VMSAVE, INTERCEPT_STGI, INTERCEPT_CLGI, INTERCEPT_SKINIT,
	INTERCEPT_WBINVD, INTERCEPT_XSETBV, INTERCEPT_RDPRU,
};

void svm_update_intercepts(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb *vmcb = svm->vmcb01;
	struct vcpu_debug *d = &v->cpu.debug;
	u32 exceptions = HOST_EXCEPTIONS | vcpu_vm(v)->forced_intercepts;

	if ((d->guest_debug & (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP)) ==
	    (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP))
		exceptions |= BIT(BP_VECTOR);
	vmcb->control.intercepts[INTERCEPT_EXCEPTION] = exceptions;
	vmcb->control.intercepts[INTERCEPT_DR] = d->guest_owned ? 0 : 0xffffffff & ~0xff00ff00;
	vmcb_dirty(vmcb, CLEAN_INTERCEPTS);
	if (v->guest_mode)
		nested_build_intercepts(svm);
}

/* Waiting instructions, unless the VM may keep the CPU while it waits. */
static void intercept_waits(struct svm_vcpu *svm)
{
	struct vmcb_control_area *c = &svm->vmcb->control;
	u32 disabled = vcpu_vm(&svm->vcpu)->disabled_exits;

	if (!(disabled & KVM_X86_DISABLE_EXITS_HLT))
		vmcb_intercept(svm->vmcb, INTERCEPT_HLT);
	if (!(disabled & KVM_X86_DISABLE_EXITS_MWAIT)) {
		vmcb_intercept(svm->vmcb, INTERCEPT_MONITOR);
		vmcb_intercept(svm->vmcb, INTERCEPT_MWAIT);
	}
	if (svm_caps.pause_filter && !(disabled & KVM_X86_DISABLE_EXITS_PAUSE)) {
		vmcb_intercept(svm->vmcb, INTERCEPT_PAUSE);
		c->pause_filter_count = 3000;
		if (svm_caps.pause_threshold)
			c->pause_filter_thresh = 128;
	}
}

static void init_control(struct svm_vcpu *svm)
{
	struct vmcb_control_area *c = &svm->vmcb->control;
	struct vcpu *v = &svm->vcpu;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(always_intercepted); i++)
		vmcb_intercept(svm->vmcb, always_intercepted[i]);
	intercept_waits(svm);
	c->iopm_base_pa = svm_iopm_pa;
	c->msrpm_base_pa = __sme_set(__pa(svm->msrpm));
	c->int_ctl = V_INTR_MASKING_MASK;
	c->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	svm_update_intercepts(v);
}

int svm_vcpu_init(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	int ret;

	svm->vmcb01 = svm->vmcb = (struct vmcb *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!svm->vmcb)
		return -ENOMEM;
	svm->asid = &svm->asid01;
	svm->nested.current_gpa = NESTED_NO_CURRENT;
	ret = svm_msrpm_alloc(svm) ?: svm_clean_vcpu_init(svm);
	if (ret) {
		svm_msrpm_free(svm);
		free_page((unsigned long)svm->vmcb);
		svm->vmcb01 = svm->vmcb = NULL;
		return ret;
	}
	svm->sw.vmcb_pa = svm->sw.save_pa = __sme_set(__pa(svm->vmcb));
	svm->sw.regs = v->regs;
	init_control(svm);
	return 0;
}

/* Those that VMLOAD switches are common to both levels. */
static struct vmcb_seg *seg_of(struct svm_vcpu *svm, enum seg seg)
{
	struct vmcb *vmcb = svm->vmcb, *common = svm->vmcb01;

	switch (seg) {
	case SEG_ES:	return &vmcb->save.es;
	case SEG_CS:	return &vmcb->save.cs;
	case SEG_SS:	return &vmcb->save.ss;
	case SEG_DS:	return &vmcb->save.ds;
	case SEG_FS:	return &common->save.fs;
	case SEG_GS:	return &common->save.gs;
	case SEG_LDTR:	return &common->save.ldtr;
	default:	return &common->save.tr;
	}
}

/*
 * Registers as after RESET and INIT (APM vol. 2, "Initial Processor State"); those of struct vcpu
 * are the caller's.
 */
void svm_reset(struct vcpu *v, bool init)
{
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb_save_area *s = &svm->vmcb01->save;
	int i;

	/* Whatever level ran, L1's processor is what is reset. */
	if (v->guest_mode)
		nested_use_01(svm);
	svm->nested.gif = true;
	if (!init)
		svm->nested.hsave_pa = svm->nested.vm_cr = 0;

	for (i = SEG_ES; i <= SEG_GS; i++)
		*seg_of(svm, i) = (struct vmcb_seg) { .limit = 0xffff, .attrib = 0x93 };
	s->cs = (struct vmcb_seg) { .selector = 0xf000, .base = 0xffff0000, .limit = 0xffff, .attrib = 0x9b };
	s->gdtr.base = s->idtr.base = 0;
	s->gdtr.limit = s->idtr.limit = 0xffff;
	s->ldtr = (struct vmcb_seg) { .limit = 0xffff, .attrib = 0x82 };
	s->tr = (struct vmcb_seg) { .limit = 0xffff, .attrib = 0x8b };
	s->cpl = 0;
	if (!init)
		s->star = s->lstar = s->cstar = s->sfmask = s->kernel_gs_base =
			s->sysenter_cs = s->sysenter_esp = s->sysenter_eip = 0;
	s->dr7 = 0x400;
	s->g_pat = v->cpu.pat;
	svm->vmcb->control.int_state = 0;
	svm->vmcb->control.event_inj = 0;
	svm->vmcb->control.clean = 0;
	svm->soft.moved = false;
	svm->step = STEP_NOT;
}

void svm_cache_reg(struct vcpu *v, enum reg reg)
{
	struct vmcb_save_area *s = &to_svm(v)->vmcb->save;

	switch (reg) {
	case REG_CR0:
		/*
		 * TS and MP are the guest's to change (selective intercept); the rest is ours to
		 * know.
		 */
		v->cr0 = (v->cr0 & ~(X86_CR0_TS | X86_CR0_MP)) |
			 (s->cr0 & (X86_CR0_TS | X86_CR0_MP));
		break;
	case REG_CR3:
		v->cr3 = s->cr3;
		break;
	case REG_PDPTR:
		/* Nested paging has no PDPTRs of its own: the CPU reads them at every walk. */
		if ((v->cr4 & X86_CR4_PAE) && (v->cr0 & X86_CR0_PG) && !(v->efer & EFER_LMA))
			mmu_load_pdptrs(v, vcpu_cr3(v));
		break;
	default:
		break;
	}
	v->regs_avail |= BIT(reg);
}

void svm_get_segment(struct vcpu *v, struct kvm_segment *s, enum seg seg)
{
	const struct vmcb_seg *m = seg_of(to_svm(v), seg);
	bool in_use = m->attrib & SVM_SELECTOR_P_MASK;

	*s = (struct kvm_segment) {
		.base		= m->base,
		.limit		= m->limit,
		.selector	= m->selector,
		.type		= m->attrib & SVM_SELECTOR_TYPE_MASK,
		.s		= !!(m->attrib & SVM_SELECTOR_S_MASK),
		.dpl		= (m->attrib & SVM_SELECTOR_DPL_MASK) >> SVM_SELECTOR_DPL_SHIFT,
		.present	= in_use,
		.avl		= !!(m->attrib & SVM_SELECTOR_AVL_MASK),
		.l		= !!(m->attrib & SVM_SELECTOR_L_MASK),
		.db		= !!(m->attrib & SVM_SELECTOR_DB_MASK),
		/* The CPU forgets G of CS: what the limit says is what is true. */
		.g		= m->limit > 0xfffff,
		.unusable	= !in_use,
	};
	if (seg == SEG_TR)
		s->type |= 0x2;		/* a loaded TSS is busy, whatever the CPU saved */
	if (seg == SEG_SS) {
		/* The CPL of the VMCB is what counts; a null SS in 64-bit mode has no DPL. */
		s->dpl = to_svm(v)->vmcb->save.cpl;
		if (s->unusable)
			s->db = 0;
	}
}

/* The same rules for all of them, without the detour over the ABI's structure. */
void svm_get_segments(struct vcpu *v, struct emu_seg *seg)
{
	struct vmcb_save_area *save = &to_svm(v)->vmcb->save, *common = &to_svm(v)->vmcb01->save;
	unsigned int i;

	for (i = 0; i < NR_SEGS; i++) {
		const struct vmcb_seg *m = i < SEG_FS ? &save->es + i : i < SEG_LDTR ? &common->es + i :
					   i == SEG_LDTR ? &common->ldtr : &common->tr;
		u16 a = m->attrib;

		seg[i] = (struct emu_seg) {
			.base = m->base, .limit = m->limit, .selector = m->selector, .type = a & 0xf, .s = a >> 4 & 1,
			.dpl = a >> 5 & 3, .p = a >> 7 & 1, .avl = a >> 8 & 1, .l = a >> 9 & 1, .db = a >> 10 & 1,
			.g = m->limit > 0xfffff, .unusable = !(a >> 7 & 1),
		};
	}
	seg[SEG_TR].type |= 2;
	seg[SEG_SS].dpl = save->cpl;
	if (seg[SEG_SS].unusable)
		seg[SEG_SS].db = 0;
}

void svm_set_segment(struct vcpu *v, const struct kvm_segment *s, enum seg seg)
{
	struct svm_vcpu *svm = to_svm(v);
	struct vmcb_seg *m = seg_of(svm, seg);

	m->base = s->base;
	m->limit = s->limit;
	m->selector = s->selector;
	m->attrib = (s->type & SVM_SELECTOR_TYPE_MASK) | (s->s & 1) << SVM_SELECTOR_S_SHIFT |
		    (s->dpl & 3) << SVM_SELECTOR_DPL_SHIFT |
		    ((s->present & 1) && !s->unusable) << SVM_SELECTOR_P_SHIFT |
		    (s->avl & 1) << SVM_SELECTOR_AVL_SHIFT | (s->l & 1) << SVM_SELECTOR_L_SHIFT |
		    (s->db & 1) << SVM_SELECTOR_DB_SHIFT | (s->g & 1) << SVM_SELECTOR_G_SHIFT;
	if (seg == SEG_SS)
		svm->vmcb->save.cpl = s->dpl & 3;
	vmcb_dirty(svm->vmcb, CLEAN_SEG);
}

void svm_get_dt(struct vcpu *v, struct kvm_dtable *dt, bool idt)
{
	const struct vmcb_save_area *s = &to_svm(v)->vmcb->save;
	const struct vmcb_seg *m = idt ? &s->idtr : &s->gdtr;

	*dt = (struct kvm_dtable) { .base = m->base, .limit = m->limit };
}

void svm_set_dt(struct vcpu *v, const struct kvm_dtable *dt, bool idt)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;
	struct vmcb_seg *m = idt ? &vmcb->save.idtr : &vmcb->save.gdtr;

	m->base = dt->base;
	m->limit = dt->limit;
	vmcb_dirty(vmcb, CLEAN_DT);
}

void svm_set_cr0(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;

	/*
	 * CD and NW would make the CPU run the guest uncached; memory types are the nested tables'.
	 */
	vmcb->save.cr0 = (v->cr0 & ~(X86_CR0_CD | X86_CR0_NW)) | X86_CR0_ET;
	vmcb_dirty(vmcb, CLEAN_CR);
}

void svm_set_cr3(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;

	vmcb->save.cr3 = v->cr3;
	vmcb_dirty(vmcb, CLEAN_CR);
}

void svm_set_cr4(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;

	vmcb->save.cr4 = svm_cr4(v->cr4);
	vmcb_dirty(vmcb, CLEAN_CR);
}

void svm_set_efer(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;

	/* VMRUN demands SVME of every guest. */
	vmcb->save.efer = v->efer | EFER_SVME;
	vmcb_dirty(vmcb, CLEAN_CR);
	/* With SVM off no instruction could set it again. */
	if (!(v->efer & EFER_SVME) && !v->guest_mode)
		to_svm(v)->nested.gif = true;
}

int svm_cpl(struct vcpu *v)
{
	return to_svm(v)->vmcb->save.cpl;
}

u8 svm_shadow(struct vcpu *v)
{
	/* One bit for both; MOV SS is the stricter reading. */
	return to_svm(v)->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK ? SHADOW_STI | SHADOW_MOV_SS : 0;
}

void svm_set_shadow(struct vcpu *v, u8 shadow)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;

	if (shadow)
		vmcb->control.int_state |= SVM_INTERRUPT_SHADOW_MASK;
	else
		vmcb->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
}

/* The VMCB has no place for traps: the CPU delivers them, or drops them under MOV SS. */
u64 svm_take_pending_dbg(struct vcpu *v)
{
	return 0;
}

void svm_set_tsc(struct vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	svm->vmcb01->control.tsc_offset = v->cpu.tsc_offset;
	vmcb_dirty(svm->vmcb01, CLEAN_INTERCEPTS);
	if (v->guest_mode) {
		svm->vmcb->control.tsc_offset =
			v->cpu.tsc_offset + svm->nested.vmcb12->control.tsc_offset;
		vmcb_dirty(svm->vmcb, CLEAN_INTERCEPTS);
	}
}

void svm_set_root(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;

	vmcb->control.nested_cr3 = v->mmu.root_hpa;
	vmcb_dirty(vmcb, CLEAN_NPT);
	svm_flush_tlb(v);
}

void svm_sync_debug(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;
	struct vcpu_debug *d = &v->cpu.debug;

	get_debugreg(d->db[0], 0);
	get_debugreg(d->db[1], 1);
	get_debugreg(d->db[2], 2);
	get_debugreg(d->db[3], 3);
	d->dr6 = vmcb->save.dr6;
	d->dr7 = vmcb->save.dr7;
	d->guest_owned = false;
	svm_update_intercepts(v);
}

void svm_set_dr7(struct vcpu *v)
{
	struct vmcb *vmcb = to_svm(v)->vmcb;

	vmcb_update(vmcb, save.dr7, debug_effective_dr7(&v->cpu.debug), CLEAN_DR);
}

void svm_update_cpuid(struct vcpu *v)
{
	svm_update_msr_access(v);
}

void svm_dump(struct vcpu *v)
{
	const struct vmcb *vmcb = to_svm(v)->vmcb;

	pr_err_ratelimited(
		"strata: VMRUN failed: exit %x:%x cr0 %llx cr3 %llx cr4 %llx efer %llx rip %llx rflags %llx cs %x/%x asid %u event_inj %x\n",
		vmcb->control.exit_code_hi, vmcb->control.exit_code, vmcb->save.cr0, vmcb->save.cr3,
		vmcb->save.cr4, vmcb->save.efer, vmcb->save.rip, vmcb->save.rflags,
		vmcb->save.cs.selector, vmcb->save.cs.attrib, vmcb->control.asid,
		vmcb->control.event_inj);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Guest registers in and out of the VMCS.
 */
#include "vmx.h"
#include "insn.h"

#include <asm/debugreg.h>
#include <asm/tlbflush.h>

/* Fields of segment registers lie two apart, in the order ES, CS, SS, DS, FS, GS, LDTR, TR. */
#define SEG_SELECTOR(seg)	(GUEST_ES_SELECTOR + 2 * (seg))
#define SEG_LIMIT(seg)		(GUEST_ES_LIMIT + 2 * (seg))
#define SEG_RIGHTS(seg)		(GUEST_ES_AR_BYTES + 2 * (seg))
#define SEG_BASE(seg)		(GUEST_ES_BASE + 2 * (seg))

static void reset_segment(enum seg seg, u16 selector, u32 base, u32 rights)
{
	vmwrite(SEG_SELECTOR(seg), selector);
	vmwrite(SEG_BASE(seg), base);
	vmwrite(SEG_LIMIT(seg), 0xffff);
	vmwrite(SEG_RIGHTS(seg), rights);
}

/*
 * Registers as after RESET and INIT (SDM, "IA-32 and Intel 64 Processor States Following ...");
 * those of struct vcpu are the caller's.
 */
void vmx_reset(struct vcpu *v, bool init)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	int i;

	if (!vmx->cpu_ctl)
		vmx_vmcs_init(vmx);	/* the first time: the vCPU was not loaded before */
	vmx->segs_avail = 0;
	for (i = SEG_ES; i <= SEG_GS; i++)
		reset_segment(i, 0, 0, 0x93);
	reset_segment(SEG_CS, 0xf000, 0xffff0000, 0x9b);
	reset_segment(SEG_LDTR, 0, 0, 0x82);
	reset_segment(SEG_TR, 0, 0, 0x8b);
	vmwrite(GUEST_GDTR_BASE, 0);
	vmwrite(GUEST_GDTR_LIMIT, 0xffff);
	vmwrite(GUEST_IDTR_BASE, 0);
	vmwrite(GUEST_IDTR_LIMIT, 0xffff);
	if (!init) {
		memset(vmx->urmsr, 0, sizeof(vmx->urmsr));
		vmx->cstar = 0;
		vmx_set_msr(v, MSR_KERNEL_GS_BASE, 0, true);
		vmwrite(GUEST_SYSENTER_CS, 0);
		vmwrite(GUEST_SYSENTER_ESP, 0);
		vmwrite(GUEST_SYSENTER_EIP, 0);
	}
	vmwrite(GUEST_DR7, 0x400);
	vmwrite(GUEST_IA32_DEBUGCTL, 0);
	vmwrite(GUEST_IA32_PAT, v->cpu.pat);
	vmx_set_blocking(vmx, 0);
	vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	vmwrite(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmwrite(VM_ENTRY_INTR_INFO_FIELD, 0);
}

static void cache_pdptrs(struct vcpu *v)
{
	unsigned int i;

	/* The VMCS has them only under PAE paging. */
	if (!cr_pae_paging(v))
		return;
	for (i = 0; i < 4; i++)
		v->pdptr[i] = vmread(GUEST_PDPTR0 + 2 * i);
}

void vmx_cache_reg(struct vcpu *v, enum reg reg)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	switch (reg) {
	case REG_RSP:
		v->regs[REG_RSP] = vmread(GUEST_RSP);
		break;
	case REG_RIP:
		v->regs[REG_RIP] = vmread(GUEST_RIP);
		break;
	case REG_RFLAGS:
		v->regs[REG_RFLAGS] = vmread(GUEST_RFLAGS);
		break;
	case REG_CR0:
		v->cr0 = (v->cr0 & ~VMX_CR0_GUEST) | (vmread(GUEST_CR0) & VMX_CR0_GUEST);
		break;
	case REG_CR3:
		v->cr3 = vmread(GUEST_CR3);
		break;
	case REG_CR4:
		v->cr4 = (v->cr4 & ~vmx->cr4_guest) | (vmread(GUEST_CR4) & vmx->cr4_guest);
		break;
	case REG_PDPTR:
		cache_pdptrs(v);
		break;
	default:
		break;
	}
	v->regs_avail |= BIT(reg);
}

void vmx_write_regs(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;
	unsigned int i;

	if (v->regs_dirty & BIT(REG_RSP))
		vmwrite(GUEST_RSP, v->regs[REG_RSP]);
	if (v->regs_dirty & BIT(REG_RFLAGS)) {
		vmwrite(GUEST_RFLAGS, v->regs[REG_RFLAGS]);
		vmx->fix_shadow = true;
	}
	if ((v->regs_dirty & BIT(REG_PDPTR)) && cr_pae_paging(v)) {
		for (i = 0; i < 4; i++)
			vmwrite(GUEST_PDPTR0 + 2 * i, v->pdptr[i]);
	}
}

static void read_segment(struct kvm_segment *s, enum seg seg)
{
	u32 rights = vmread(SEG_RIGHTS(seg));
	bool unusable = rights & VMX_AR_UNUSABLE_MASK;

	*s = (struct kvm_segment) {
		.base		= vmread(SEG_BASE(seg)),
		.limit		= vmread(SEG_LIMIT(seg)),
		.selector	= vmread(SEG_SELECTOR(seg)),
		.type		= rights & VMX_AR_TYPE_MASK,
		.s		= !!(rights & VMX_AR_S_MASK),
		.dpl		= VMX_AR_DPL(rights),
		.present	= !unusable && (rights & VMX_AR_P_MASK),
		.avl		= !!(rights & BIT(12)),
		.l		= !!(rights & VMX_AR_L_MASK),
		.db		= !!(rights & VMX_AR_DB_MASK),
		.g		= !!(rights & VMX_AR_G_MASK),
		.unusable	= unusable,
	};
}

void vmx_get_segment(struct vcpu *v, struct kvm_segment *s, enum seg seg)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (!(vmx->segs_avail & BIT(seg))) {
		read_segment(&vmx->segs[seg], seg);
		vmx->segs_avail |= BIT(seg);
	}
	*s = vmx->segs[seg];
}

void vmx_get_segments(struct vcpu *v, struct emu_seg *seg)
{
	unsigned int i;

	for (i = 0; i < NR_SEGS; i++) {
		struct kvm_segment k;

		vmx_get_segment(v, &k, i);
		seg[i] = (struct emu_seg) {
			.base = k.base, .limit = k.limit, .selector = k.selector, .type = k.type, .s = k.s, .dpl = k.dpl,
			.p = k.present, .avl = k.avl, .l = k.l, .db = k.db, .g = k.g, .unusable = k.unusable,
		};
	}
}

void vmx_set_segment(struct vcpu *v, const struct kvm_segment *s, enum seg seg)
{
	u32 rights = (s->type & VMX_AR_TYPE_MASK) | (s->s & 1) << 4 |
		     (s->dpl & 3) << VMX_AR_DPL_SHIFT | (s->present & 1) << 7 | (s->avl & 1) << 12 |
		     (s->l & 1) << 13 | (s->db & 1) << 14 | (s->g & 1) << 15;

	if (s->unusable || !s->present)
		rights |= VMX_AR_UNUSABLE_MASK;
	else if (s->s)
		rights |= VMX_AR_TYPE_ACCESSES_MASK;	/* what is loaded has been accessed: entries demand it */
	if (seg == SEG_TR)
		rights |= 2;		/* a loaded TSS is busy */
	to_vmx(v)->segs_avail &= ~BIT(seg);
	vmwrite(SEG_SELECTOR(seg), s->selector);
	vmwrite(SEG_BASE(seg), s->base);
	vmwrite(SEG_LIMIT(seg), s->limit);
	vmwrite(SEG_RIGHTS(seg), rights);
}

void vmx_get_dt(struct vcpu *v, struct kvm_dtable *dt, bool idt)
{
	*dt = (struct kvm_dtable) {
		.base	= vmread(idt ? GUEST_IDTR_BASE : GUEST_GDTR_BASE),
		.limit	= vmread(idt ? GUEST_IDTR_LIMIT : GUEST_GDTR_LIMIT),
	};
}

void vmx_set_dt(struct vcpu *v, const struct kvm_dtable *dt, bool idt)
{
	vmwrite(idt ? GUEST_IDTR_BASE : GUEST_GDTR_BASE, dt->base);
	vmwrite(idt ? GUEST_IDTR_LIMIT : GUEST_GDTR_LIMIT, dt->limit);
}

void vmx_set_cr0(struct vcpu *v)
{
	unsigned long fixed = vmx_caps.cr0_fixed & ~(X86_CR0_PE | X86_CR0_PG);

	/* CD and NW would make the CPU run the guest uncached; memory types are EPT's. */
	vmwrite(GUEST_CR0, (v->cr0 & ~(X86_CR0_CD | X86_CR0_NW)) | fixed);
	vmwrite(CR0_READ_SHADOW, v->cr0);
}

void vmx_set_cr3(struct vcpu *v)
{
	vmwrite(GUEST_CR3, v->cr3);
}

void vmx_set_cr4(struct vcpu *v)
{
	/* With MCE clear a machine check would shut the CPU down, although it is the host's. */
	unsigned long fixed = vmx_caps.cr4_fixed | (cr4_read_shadow() & X86_CR4_MCE);

	vmwrite(GUEST_CR4, v->cr4 | fixed);
	vmwrite(CR4_READ_SHADOW, v->cr4);
}

void vmx_set_efer(struct vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 ctl = vmx->entry_ctl & ~VM_ENTRY_IA32E_MODE;

	if (v->efer & EFER_LMA)
		ctl |= VM_ENTRY_IA32E_MODE;
	if (ctl != vmx->entry_ctl) {
		vmx->entry_ctl = ctl;
		vmwrite(VM_ENTRY_CONTROLS, ctl);
	}
	vmwrite(GUEST_IA32_EFER, v->efer);
	vmx_msr_reload(vmx);	/* SCE decides about the SYSCALL MSRs */
}

int vmx_cpl(struct vcpu *v)
{
	/* In real mode the DPL is whatever was left there. */
	if (!(v->cr0 & X86_CR0_PE))
		return 0;
	return VMX_AR_DPL(vmread(GUEST_SS_AR_BYTES));
}

static_assert(GUEST_INTR_STATE_STI == SHADOW_STI && GUEST_INTR_STATE_MOV_SS == SHADOW_MOV_SS);
#define BOTH_SHADOWS (SHADOW_STI | SHADOW_MOV_SS)

u8 vmx_get_shadow(struct vcpu *v)
{
	return vmx_shadow(v);
}

void vmx_set_blocking(struct vmx_vcpu *vmx, u32 blocking)
{
	vmx->blocking = blocking;
	vmwrite(GUEST_INTERRUPTIBILITY_INFO, blocking);
}

void vmx_write_shadow(struct vcpu *v, u8 shadow)
{
	u32 old = to_vmx(v)->blocking, now;

	/* Entries refuse both at once; MOV SS holds off more. */
	if (shadow & SHADOW_MOV_SS)
		shadow = SHADOW_MOV_SS;
	now = (old & ~BOTH_SHADOWS) | (shadow & BOTH_SHADOWS);
	if (now == old)
		return;
	vmx_set_blocking(to_vmx(v), now);
	to_vmx(v)->fix_shadow = true;
}

void vmx_drop_step_trap(void)
{
	unsigned long pending = vmread(GUEST_PENDING_DBG_EXCEPTIONS);

	if (pending & DR_STEP)
		vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, pending & ~DR_STEP);
}

/*
 * Bits of the pending debug exceptions field that make a trap due: an enabled breakpoint, a single
 * step, RTM
 */
#define PENDING_DBG_ENABLED	BIT(12)
#define PENDING_DBG_DUE		(PENDING_DBG_ENABLED | DR_STEP | DR6_RTM_BIT)

u64 vmx_take_pending_dbg(struct vcpu *v)
{
	unsigned long pending = vmread(GUEST_PENDING_DBG_EXCEPTIONS);

	if (!pending)
		return 0;
	vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	/* The step of a shadowed instruction comes with the shadow again. */
	to_vmx(v)->fix_shadow = true;
	if (vmx_shadow(v))
		pending &= ~DR_STEP;
	return pending & PENDING_DBG_DUE ? pending & (DR_TRAP_BITS | DR_STEP | DR6_RTM_BIT) : 0;
}

/* Handed to the CPU, until the exit takes back what it still holds. */
void vmx_hold_traps(struct vcpu *v)
{
	u64 *causes = &v->events.pending_dbg;

	vmwrite(GUEST_PENDING_DBG_EXCEPTIONS, vmread(GUEST_PENDING_DBG_EXCEPTIONS) | *causes |
		(*causes & DR_TRAP_BITS ? PENDING_DBG_ENABLED : 0));
	*causes = 0;
	to_vmx(v)->fix_shadow = true;
}

/* After an emulated instruction, or when userspace sets it */
void vmx_set_shadow(struct vcpu *v, u8 shadow)
{
	vmx_no_step_trap(v);
	vmx_write_shadow(v, shadow);
}

void vmx_sync_debug(struct vcpu *v)
{
	struct vcpu_debug *d = &v->cpu.debug;

	get_debugreg(d->db[0], 0);
	get_debugreg(d->db[1], 1);
	get_debugreg(d->db[2], 2);
	get_debugreg(d->db[3], 3);
	get_debugreg(d->dr6, 6);
	d->dr7 = vmread(GUEST_DR7);
	d->guest_owned = false;
	vmx_update_intercepts(v);
}

void vmx_set_dr7(struct vcpu *v)
{
	vmwrite(GUEST_DR7, debug_effective_dr7(&v->cpu.debug));
}

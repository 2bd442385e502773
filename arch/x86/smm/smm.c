// SPDX-License-Identifier: GPL-2.0
/*
 * System management mode: state into SMRAM at an SMI, and back at RSM.
 *
 * SMRAM is memory of the second address space. Nothing of the vCPU changes before the save area is
 * written (or, by RSM, has passed every check), so a failure leaves the state as it was.
 */
#include "smm.h"
#include "smram.h"

#include "../backend.h"
#include "../exit.h"
#include "../trace_kvm.h"

#include <linux/build_bug.h>
#include <linux/strata.h>
#include <linux/string.h>

#define AS_NORMAL	0
#define AS_SMM		1

static_assert(SMRAM_ES == (int)SEG_ES && SMRAM_TR == (int)SEG_TR && SMRAM_NR_SEGS == (int)NR_SEGS);
static_assert(SMRAM_IO_IN == STRATA_IO_IN && SMRAM_IO_VALID == STRATA_IO_VALID &&
	      SMRAM_IO_STRING == STRATA_IO_STRING && SMRAM_IO_REP == STRATA_IO_REP &&
	      1 << SMRAM_IO_SIZE_SHIFT == STRATA_IO_8);
static_assert(SMRAM_SHADOW_MOV_SS == KVM_X86_SHADOW_INT_MOV_SS &&
	      SMRAM_SHADOW_STI == KVM_X86_SHADOW_INT_STI);

void smm_follow(struct vcpu *v)
{
	unsigned int as_id = v->events.smm ? AS_SMM : AS_NORMAL;

	if (v->virt.as_id == as_id)
		return;
	mmu_use_address_space(v, as_id);
	backend_call(update_intercepts)(v);
}

/* Long mode on a vCPU whose CPUID does not have it needs the 64-bit map all the same. */
static bool wide(struct vcpu *v)
{
	return guest_has(v, GUEST_LONG_MODE) || (v->efer & (EFER_BIT_LME | EFER_BIT_LMA));
}

static struct smram_seg seg_to_smram(const struct emu_seg *s)
{
	bool present = s->p && !s->unusable;

	return (struct smram_seg) {
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.attrib = (s->type & SMRAM_SEG_TYPE) | (s->s ? SMRAM_SEG_S : 0) | (s->dpl & 3) << SMRAM_SEG_DPL_SHIFT |
			  (present ? SMRAM_SEG_P : 0) | (s->avl ? SMRAM_SEG_AVL : 0) | (s->l ? SMRAM_SEG_L : 0) |
			  (s->db ? SMRAM_SEG_DB : 0) | (s->g ? SMRAM_SEG_G : 0),
	};
}

static struct emu_seg seg_from_smram(const struct smram_seg *s)
{
	return (struct emu_seg) {
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->attrib & SMRAM_SEG_TYPE,
		.s = !!(s->attrib & SMRAM_SEG_S),
		.dpl = (s->attrib & SMRAM_SEG_DPL) >> SMRAM_SEG_DPL_SHIFT,
		.p = !!(s->attrib & SMRAM_SEG_P),
		.avl = !!(s->attrib & SMRAM_SEG_AVL),
		.l = !!(s->attrib & SMRAM_SEG_L),
		.db = !!(s->attrib & SMRAM_SEG_DB),
		.g = !!(s->attrib & SMRAM_SEG_G),
		.unusable = !(s->attrib & SMRAM_SEG_P),
	};
}

static struct smram_table table_to_smram(struct vcpu *v, bool idt)
{
	struct kvm_dtable dt;

	backend_call(get_dt)(v, &dt, idt);
	return (struct smram_table) { .base = dt.base, .limit = dt.limit };
}

static u8 shadow_to_smram(u8 shadow)
{
	return (shadow & SHADOW_STI ? SMRAM_SHADOW_STI : 0) | (shadow & SHADOW_MOV_SS ? SMRAM_SHADOW_MOV_SS : 0);
}

static void save(struct vcpu *v, struct smram_state *s)
{
	struct emu_seg seg[NR_SEGS];
	unsigned int i;

	*s = (struct smram_state) {
		.rip = vcpu_rip(v),
		.rflags = vcpu_rflags(v),
		.cr0 = vcpu_cr0(v),
		.cr3 = vcpu_cr3(v),
		.cr4 = vcpu_cr4(v),
		.efer = v->efer,
		.dr6 = v->cpu.debug.dr6,
		.dr7 = v->cpu.debug.dr7,
		.gdtr = table_to_smram(v, false),
		.idtr = table_to_smram(v, true),
		.smbase = v->cpu.smbase,
		.auto_halt = v->mp_state == KVM_MP_STATE_HALTED,
		.shadow = shadow_to_smram(backend_call(shadow)(v)),
	};
	for (i = 0; i < ARRAY_SIZE(s->gpr); i++)
		s->gpr[i] = vcpu_reg(v, i);
	backend_call(get_segments)(v, seg);
	for (i = 0; i < NR_SEGS; i++)
		s->seg[i] = seg_to_smram(&seg[i]);
}

/* The SMI came with an I/O instruction, which RSM may restart. */
static void save_io(struct vcpu *v, struct smram_state *s, bool map64)
{
	const struct smram_io *io = io_last(v);

	if (!io || s->auto_halt)
		return;
	smram_io_store(s, io, vcpu_cs_long(v),
		       !map64 && emu_io_immediate(v, vcpu_rip(v) - io->len));
}

/* Flat 4 GiB segments, and a 16-bit CS at SMBASE; tables, LDTR and TR stay. */
static void handler_segments(struct vcpu *v)
{
	struct kvm_segment flat = { .limit = 0xffffffff, .type = 3, .present = 1, .s = 1, .g = 1 };
	unsigned int i;

	for (i = SEG_ES; i <= SEG_GS; i++) {
		flat.base = i == SEG_CS ? v->cpu.smbase : 0;
		flat.selector = i == SEG_CS ? (u16)(v->cpu.smbase >> 4) : 0;
		backend_call(set_segment)(v, &flat, i);
	}
}

static void handler_state(struct vcpu *v, bool clear_efer)
{
	unsigned long cr0 = v->cr0 & ~(X86_CR0_PE | X86_CR0_EM | X86_CR0_TS | X86_CR0_PG);

	backend_call(set_shadow)(v, 0);
	vcpu_set_reg(v, REG_RIP, SMRAM_ENTRY);
	vcpu_set_reg(v, REG_RFLAGS, X86_EFLAGS_FIXED);
	cr_load(v, cr0, v->cr3, 0, clear_efer ? 0 : v->efer);
	handler_segments(v);
	debug_load(v, v->cpu.debug.dr6, DR7_INIT);
	v->mp_state = KVM_MP_STATE_RUNNABLE;
	v->cpu.smi_count++;
}

/* The SMI is pending again, and what it overtook. */
static enum exit_result not_entered(struct vcpu *v)
{
	event_rsm(&v->events, backend_call(shadow)(v), false);
	v->events.smi = true;
	smm_follow(v);
	return exit_internal_error(v, KVM_INTERNAL_ERROR_DELIVERY_EV, v->cpu.smbase, vcpu_rip(v));
}

enum exit_result smm_enter(struct vcpu *v)
{
	bool map64 = wide(v) || v->guest_mode;
	struct smram_state s;
	u8 image[SMRAM_SIZE];

	v->events.smm_dbg |= backend_call(take_pending_dbg)(v);
	save(v, &s);
	save_io(v, &s, map64);
	if (v->guest_mode && backend_call(nested_smm_save)(v, &s))
		return not_entered(v);
	smram_pack(&s, map64 ? SMRAM_MAP_64 : SMRAM_MAP_32, image);
	smm_follow(v);
	if (virt_guest_write(&v->virt, (u64)v->cpu.smbase + SMRAM_SAVE, image, sizeof(image)))
		return not_entered(v);
	if (v->guest_mode)
		backend_call(nested_smm_leave)(v);
	handler_state(v, map64);
	io_last_ends(v);
	trace_kvm_smm_transition(v, v->cpu.smbase, true);
	return EXIT_RESUME;
}

static u8 shadow_from_smram(u8 shadow)
{
	if (shadow & SMRAM_SHADOW_MOV_SS)
		return EMU_SHADOW_MOV_SS;
	return shadow & SMRAM_SHADOW_STI ? EMU_SHADOW_STI : EMU_SHADOW_NONE;
}

/* What the emulator commits; the rest is the vCPU's already. */
static void to_emulator(struct emu *e, const struct smram_state *s)
{
	struct emu_regs *r = &e->regs;
	unsigned int i;

	memcpy(r->gpr, s->gpr, sizeof(r->gpr));
	for (i = 0; i < SMRAM_NR_SEGS; i++)
		r->seg[i] = seg_from_smram(&s->seg[i]);
	r->gdtr = (struct emu_table) { .base = s->gdtr.base, .limit = s->gdtr.limit };
	r->idtr = (struct emu_table) { .base = s->idtr.base, .limit = s->idtr.limit };
	r->rflags = s->rflags;
	r->cr0 = s->cr0;
	r->cr3 = s->cr3;
	r->cr4 = s->cr4;
	r->efer = s->efer;
	e->next_rip = s->rip;
	e->shadow = shadow_from_smram(s->shadow);
	e->resumed = true;
	e->halt = s->auto_halt;
}

static bool pae_paging(const struct smram_state *s)
{
	return (s->cr0 & X86_CR0_PG) && (s->cr4 & X86_CR4_PAE) && !(s->efer & EFER_BIT_LMA);
}

/*
 * The save area, checked; *@again: an I/O instruction is restarted. Page-directory pointers are
 * read last, from the address space that the vCPU goes back to. False: shutdown, and nothing has
 * changed.
 */
static bool load(struct vcpu *v, struct smram_state *s, bool *again)
{
	struct cr_limits limits = cr_limits_of(v);
	u8 image[SMRAM_SIZE];

	if (virt_guest_read(&v->virt, (u64)v->cpu.smbase + SMRAM_SAVE, image, sizeof(image)))
		return false;
	if (smram_map_of(guest_has(v, GUEST_LONG_MODE), image) == SMRAM_MAP_64) {
		smram_unpack(s, SMRAM_MAP_64, image);
	} else {
		smram_unpack(s, SMRAM_MAP_32, image);
		s->efer = v->efer;
	}
	*again = smram_io_restart(s);
	if (smram_check(s, &limits) != SMRAM_OK)
		return false;
	mmu_use_address_space(v, AS_NORMAL);
	if ((!s->svm_guest && pae_paging(s) && mmu_load_pdptrs(v, s->cr3)) ||
	    backend_call(nested_rsm)(v, s)) {
		mmu_use_address_space(v, AS_SMM);
		return false;
	}
	/* How L1 translates L2's addresses is known only at the entry. */
	v->cpu.pdptr_stale = s->svm_guest && pae_paging(s);
	return true;
}

enum emu_status smm_rsm(struct vcpu *v, struct emu *e)
{
	struct smram_state s;
	bool again;

	if (!v->events.smm)
		return emu_raise(e, X86_TRAP_UD, false, 0);
	if (!load(v, &s, &again)) {
		event_raise_triple(&v->events);
		return EMU_RETRY;
	}
	trace_kvm_smm_transition(v, v->cpu.smbase, false);
	cr_load(v, s.cr0, s.cr3, s.cr4, s.efer);
	debug_load(v, s.dr6, s.dr7);
	v->cpu.smbase = s.smbase;
	to_emulator(e, &s);
	event_rsm(&v->events, e->shadow == EMU_SHADOW_MOV_SS ? SHADOW_MOV_SS : 0, again);
	backend_call(update_intercepts)(v);
	return EMU_OK;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Emulating an instruction of a vCPU's: registers in, the pure emulator, registers and events out.
 */
#include "emu_machine.h"
#include "backend.h"
#include "exit.h"

#include <linux/mm.h>
#include <linux/slab.h>

/* ---- what the guest's CPUID means to the emulator ---- */

u32 emu_guest_features(struct vcpu *v)
{
	static const struct { u32 leaf; u8 reg, bit; u32 feature; } map[] = {
		{ 1, 2, 0, EMU_FEAT_SSE3 }, { 1, 2, 13, EMU_FEAT_CX16 }, { 1, 2, 19, EMU_FEAT_SSE4_1 }, { 1, 2, 22, EMU_FEAT_MOVBE },
		{ 1, 2, 23, EMU_FEAT_POPCNT }, { 1, 2, 28, EMU_FEAT_AVX }, { 1, 3, 26, EMU_FEAT_SSE },
		{ 7, 1, 0, EMU_FEAT_FSGSBASE }, { 7, 1, 3, EMU_FEAT_BMI1 }, { 7, 1, 5, EMU_FEAT_AVX2 }, { 7, 1, 8, EMU_FEAT_BMI2 },
		{ 7, 2, 22, EMU_FEAT_RDPID },
		{ 0x80000001, 2, 0, EMU_FEAT_LAHF_LM }, { 0x80000001, 2, 4, EMU_FEAT_ALTMOVCR8 },
		{ 0x80000001, 2, 5, EMU_FEAT_LZCNT }, { 0x80000001, 3, 27, EMU_FEAT_RDTSCP },
	};
	u32 features = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(map); i++) {
		u32 r[4];

		if (cpuid_lookup(v, map[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]) &&
		    (r[map[i].reg] & BIT(map[i].bit)))
			features |= map[i].feature;
	}
	return features;
}

/* ---- registers in and out ---- */

static void store_segment(struct vcpu *v, const struct emu_seg *s, enum seg seg)
{
	const struct kvm_segment k = {
		.base = s->base, .limit = s->limit, .selector = s->selector, .type = s->type, .s = s->s, .dpl = s->dpl,
		.present = s->p, .avl = s->avl, .l = s->l, .db = s->db, .g = s->g, .unusable = s->unusable,
	};

	backend_call(set_segment)(v, &k, seg);
}

static void load_table(struct vcpu *v, struct emu_table *t, bool idt)
{
	struct kvm_dtable dt;

	backend_call(get_dt)(v, &dt, idt);
	*t = (struct emu_table) { .base = dt.base, .limit = dt.limit };
}

static void store_table(struct vcpu *v, const struct emu_table *t, bool idt)
{
	const struct kvm_dtable dt = { .base = t->base, .limit = t->limit };

	backend_call(set_dt)(v, &dt, idt);
}

static unsigned long linear_rip(const struct emu *e)
{
	if (emu_mode(&e->regs) == EMU_MODE_64)
		return e->regs.rip;
	return (u32)(e->regs.seg[EMU_CS].base + e->regs.rip);
}

static void load_segment(struct vcpu *v, struct emu_seg *s, enum seg seg)
{
	struct kvm_segment k;

	backend_call(get_segment)(v, &k, seg);
	*s = (struct emu_seg) {
		.base = k.base, .limit = k.limit, .selector = k.selector, .type = k.type, .s = k.s, .dpl = k.dpl,
		.p = k.present, .avl = k.avl, .l = k.l, .db = k.db, .g = k.g, .unusable = k.unusable,
	};
}

/* What decoding and most instructions need. */
static void emu_load(struct emu *e, struct vcpu *v)
{
	struct emu_regs *r = &e->regs;

	e->ops = unlikely(v->io.memory_only) ? &emu_memory_ops : &emu_machine_ops;
	e->ctx = v;
	e->features = v->emu_features;
	e->amd = guest_has(v, GUEST_AMD);
	e->cpl = backend_call(cpl)(v);
	e->nbytes = 0;
	e->committed = false;
	vcpu_need_reg(v, REG_RSP);
	memcpy(r->gpr, v->regs, sizeof(r->gpr));
	r->rip = vcpu_rip(v);
	r->rflags = vcpu_rflags(v);
	load_segment(v, &r->seg[EMU_CS], SEG_CS);
	r->cr0 = vcpu_cr0(v);
	r->cr2 = v->cr2;
	r->cr4 = vcpu_cr4(v);
	r->cr8 = v->cr8;
	r->efer = v->efer;
}

void emu_load_rest(struct emu *e, struct vcpu *v)
{
	struct emu_regs *r = &e->regs;

	backend_call(get_segments)(v, r->seg);
	load_table(v, &r->gdtr, false);
	load_table(v, &r->idtr, true);
	r->cr3 = vcpu_cr3(v);
}

/*
 * Few instructions touch more than general registers: those of one byte that load no segment, and
 * of two bytes from MOVcc on.
 */
static bool only_general(const struct emu *e)
{
	return emu_has_one_operand(&e->insn) && !e->committed;
}

/* A MOV to or from memory in 64-bit mode has no use for a segment, but for FS and GS. */
enum emu_status emu_guest_prepare(struct emu *e)
{
	struct vcpu *v = emu_vcpu(e);

	/* Not what the CPU exited for, but put in its place meanwhile: L1 is to have its exit. */
	if (unlikely(v->guest_mode) && backend_call(nested_intercepts)(v, e))
		return EMU_LEAVE;
	if (e->mode != EMU_MODE_64 || e->insn.seg == EMU_FS || e->insn.seg == EMU_GS ||
	    !emu_has_one_operand(&e->insn))
		emu_load_rest(e, v);
	return EMU_OK;
}

static void commit_system(struct vcpu *v, const struct emu_regs *r)
{
	struct emu_seg now[NR_SEGS];
	unsigned int i;

	backend_call(get_segments)(v, now);
	for (i = 0; i < NR_SEGS; i++) {
		if (memcmp(&now[i], &r->seg[i], sizeof(now[i])))
			store_segment(v, &r->seg[i], i);
	}
	store_table(v, &r->gdtr, false);
	store_table(v, &r->idtr, true);
}

static void emu_commit(struct emu *e, struct vcpu *v)
{
	const struct emu_regs *r = &e->regs;
	u32 mask = GENMASK(REG_R15, REG_RAX) | BIT(REG_RIP) | BIT(REG_RFLAGS);

	memcpy(v->regs, r->gpr, sizeof(r->gpr));
	v->regs[REG_RIP] = r->rip;
	v->regs[REG_RFLAGS] = r->rflags;
	v->cr2 = r->cr2;
	v->regs_avail |= mask;
	v->regs_dirty |= mask;
	if (!only_general(e))
		commit_system(v, r);
	if (unlikely(e->unmask_nmi))
		event_nmi_unmask(&v->events);
	backend_call(set_shadow)(v, e->shadow == EMU_SHADOW_STI ? SHADOW_STI : e->shadow == EMU_SHADOW_MOV_SS ? SHADOW_MOV_SS : 0);
}

static void raise_from(struct vcpu *v, const struct emu_exception *x)
{
	static const u8 type[] = {
		[EMU_EVENT_EXCEPTION]	= EVENT_EXCEPTION,
		[EMU_EVENT_SOFT_INT]	= EVENT_SOFT_INT,
		[EMU_EVENT_SOFT_EXC]	= EVENT_SOFT_EXCEPTION,
		[EMU_EVENT_PRIV_EXC]	= EVENT_PRIV_EXCEPTION,
	};
	const struct event ev = {
		.type = type[x->kind], .vector = x->vector, .len = x->len, .has_error = x->has_error,
		.has_payload = x->has_payload, .error = x->error, .payload = x->payload,
	};

	event_raise(&v->events, &ev);
}

static enum exit_result unhandleable(struct vcpu *v, const struct emu *e)
{
	struct kvm_run *run = v->virt.run;

	v->virt.stats.insn_emulation_fail++;
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.ndata = 4;	/* flags, size and 15 bytes (padded to 16) */
	run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	run->emulation_failure.insn_size = e->nbytes;
	memset(run->emulation_failure.insn_bytes, 0x90, sizeof(run->emulation_failure.insn_bytes));
	memcpy(run->emulation_failure.insn_bytes, e->bytes,
	       min_t(unsigned int, e->nbytes, EMU_MAX_INSN));
	return EXIT_TO_USER;
}

/*
 * The CPU is to execute what was not there when it exited: another one has put it there, or L1 or
 * userspace is to have its exit. It always comes back with the same exit if that was for the
 * instruction's fetch, through tables in a ROM: then nobody can execute it.
 */
static enum exit_result leave_to_cpu(struct vcpu *v, const struct emu *e)
{
	u64 exits = v->virt.stats.exits;

	/* In between at most a host's interrupt or two */
	if (exits - v->io.left_at > 4 || v->io.left_rip != e->regs.rip)
		v->io.left = 0;
	v->io.left_at = exits;
	v->io.left_rip = e->regs.rip;
	if (++v->io.left < IO_LEFT_MAX)
		return EXIT_RESUME;
	v->io.left = 0;
	return unhandleable(v, e);
}

static enum exit_result emu_done(struct vcpu *v, struct emu *e, enum emu_status s,
				 unsigned long rflags)
{
	switch (s) {
	case EMU_OK:
		if (v->io.waiting) {
			v->virt.stats.mmio_exits++;
			v->io.kind = IO_COMMIT;
			v->io.rflags = rflags;
			return EXIT_TO_USER;
		}
		if (io_smi_waits(v))
			io_note_emulated(v, e);
		emu_commit(e, v);
		io_forget(v);
		if (unlikely(e->halt))
			return vcpu_halt(v);
		return e->shadow == EMU_SHADOW_MOV_SS ? EXIT_RESUME : vcpu_after_insn(v, rflags);
	case EMU_FAULT:
		if (e->committed)
			emu_commit(e, v);
		io_forget(v);
		raise_from(v, &e->exc);
		return EXIT_RESUME;
	case EMU_IO:
		v->virt.stats.mmio_exits++;
		v->io.kind = IO_EMULATE;
		return EXIT_TO_USER;
	case EMU_RETRY:
		io_forget(v);
		return EXIT_RESUME;
	case EMU_LEAVE:
		io_forget(v);
		return leave_to_cpu(v, e);
	default:
		io_forget(v);
		return unhandleable(v, e);
	}
}

enum exit_result emu_run(struct vcpu *v)
{
	unsigned long rflags = vcpu_rflags(v);
	struct emu *e = v->emu;

	v->virt.stats.insn_emulation++;
	v->io.pos = 0;
	v->io.rip = vcpu_rip(v);
	v->io.hinted = false;
	emu_load(e, v);
	/*
	 * The CPU has fetched these bytes itself; where they are not at hand the emulator fetches
	 * them with every check.
	 */
	if (!mmu_fetch_nofault(v, linear_rip(e), e->bytes, EMU_MAX_INSN))
		e->nbytes = EMU_MAX_INSN;
	return emu_done(v, e, emulate(e), rflags);
}

/* Userspace has seen the write that was all the instruction waited for. */
enum exit_result emu_finish(struct vcpu *v)
{
	v->io.waiting = false;
	return emu_done(v, v->emu, EMU_OK, v->io.rflags);
}

int emu_vcpu_init(struct vcpu *v)
{
	v->emu = kmalloc(sizeof(*v->emu), GFP_KERNEL_ACCOUNT);
	return v->emu ? 0 : -ENOMEM;
}

void emu_vcpu_destroy(struct vcpu *v)
{
	kfree(v->emu);
}

/* Bytes at RIP, as far as they can be had: up to 15, over a page boundary. */
static unsigned int fetch_bytes_at(struct vcpu *v, struct emu *e, unsigned long linear)
{
	unsigned int first = min_t(unsigned int, EMU_MAX_INSN, PAGE_SIZE - offset_in_page(linear));

	emu_load(e, v);
	if (emu_guest_fetch(e, linear, e->bytes, first) != EMU_OK)
		return 0;
	if (first < EMU_MAX_INSN &&
	    emu_guest_fetch(e, linear + first, e->bytes + first, EMU_MAX_INSN - first) == EMU_OK)
		return EMU_MAX_INSN;
	return first;
}

static unsigned int fetch_bytes(struct vcpu *v, struct emu *e)
{
	return fetch_bytes_at(v, e, vcpu_linear_rip(v));
}

bool emu_io_immediate(struct vcpu *v, unsigned long rip)
{
	unsigned long linear = vcpu_linear_rip(v) - vcpu_rip(v) + rip;
	struct emu_insn insn;
	unsigned int n = fetch_bytes_at(v, v->emu, vcpu_cs_long(v) ? linear : (u32)linear);

	return n && !emu_decode(&insn, v->emu->bytes, n, vcpu_insn_mode(v)) &&
	       insn.map == EMU_MAP_1BYTE && (insn.opcode & 0xfc) == 0xe4;
}

unsigned int emu_insn_length(struct vcpu *v)
{
	struct emu_insn insn;
	struct emu *e = v->emu;
	unsigned int n = fetch_bytes(v, e);

	if (!n || emu_decode(&insn, e->bytes, n, vcpu_insn_mode(v)))
		return 0;
	return insn.len;
}

bool emu_at_rsm(struct vcpu *v)
{
	struct emu_insn insn;
	unsigned int n = fetch_bytes(v, v->emu);

	return n && !emu_decode(&insn, v->emu->bytes, n, vcpu_insn_mode(v)) &&
	       insn.map == EMU_MAP_0F && insn.opcode == 0xaa;
}

bool emu_at_vmcall(struct vcpu *v)
{
	unsigned int n = fetch_bytes(v, v->emu);

	return n && emu_skip_length(v->emu->bytes, n, vcpu_insn_mode(v), EMU_SKIP_VMCALL) == 3;
}

unsigned int emu_soft_length(struct vcpu *v, const struct event *ev)
{
	struct emu_insn insn;
	struct emu *e = v->emu;
	unsigned int n = fetch_bytes(v, e);

	if (!n || emu_decode(&insn, e->bytes, n, vcpu_insn_mode(v)) || insn.map != EMU_MAP_1BYTE)
		return 0;
	switch (insn.opcode) {
	case 0xcc:
		return ev->vector == X86_TRAP_BP ? insn.len : 0;
	case 0xcd:
		return ev->vector == (u8)insn.imm ? insn.len : 0;
	case 0xce:
		return ev->vector == X86_TRAP_OF ? insn.len : 0;
	case 0xf1:
		return ev->vector == X86_TRAP_DB ? insn.len : 0;
	default:
		return 0;
	}
}

enum exit_result exit_task_switch(struct vcpu *v, u16 selector, int reason, bool has_error,
				  u32 error, unsigned long next)
{
	unsigned long rflags = vcpu_rflags(v);
	struct emu *e = v->emu;
	enum emu_status s;

	io_forget(v);
	emu_load(e, v);
	emu_load_rest(e, v);
	e->regs.rip = next;
	e->insn.map = EMU_MAP_1BYTE;	/* no instruction: everything is committed */
	e->insn.opcode = 0;
	e->unmask_nmi = reason == EMU_TASK_IRET;
	s = emulate_task_switch(e, selector, reason, has_error, error);
	/* Memory that userspace serves holds no TSS. */
	if (s == EMU_IO || v->io.waiting)
		s = EMU_UNHANDLEABLE;
	/* The switch was an event's delivery: over in the new task, interrupted before that. */
	if (v->events.delivering.type && (s == EMU_OK || (s == EMU_FAULT && e->committed)))
		vcpu_event_exit(v, &(struct event){ .type = EVENT_NONE });
	return emu_done(v, e, s, rflags);
}

unsigned long emu_next_rip(struct vcpu *v)
{
	return vcpu_rip_add(v, emu_insn_length(v));
}

// SPDX-License-Identifier: GPL-2.0
/*
 * The way through one instruction: fetch, decode, dispatch, move RIP.
 */
#include "exec.h"

#include <linux/errno.h>

enum emu_mode emu_mode(const struct emu_regs *regs)
{
	const struct emu_seg *cs = &regs->seg[EMU_CS];

	if ((regs->efer & EFER_LMA) && cs->l)
		return EMU_MODE_64;
	return cs->db && !(regs->rflags & FL_VM) ? EMU_MODE_32 : EMU_MODE_16;
}

/* Real mode pushes no error codes. */
enum emu_status emu_raise(struct emu *e, u8 vector, bool has_error, u32 error)
{
	e->exc = (struct emu_exception){
		.vector = vector,
		.has_error = has_error && (e->regs.cr0 & CR0_PE),
	};
	if (e->exc.has_error)
		e->exc.error = error;
	return EMU_FAULT;
}

enum emu_status emu_raise_pf(struct emu *e, u64 linear, u32 error)
{
	emu_raise(e, VEC_PF, true, error);
	e->exc.has_payload = true;
	e->exc.payload = linear;
	return EMU_FAULT;
}

/* More bytes of the instruction, up to the end of a page or of the segment */
static enum emu_status fetch_more(struct emu *e)
{
	const struct emu_seg *cs = &e->regs.seg[EMU_CS];
	unsigned int left = EMU_MAX_INSN - e->nbytes;
	u64 linear = e->regs.rip + e->nbytes;
	unsigned int len = left;
	enum emu_status st;

	if (e->mode == EMU_MODE_64) {
		if (!emu_canonical(e, linear))
			return emu_gp(e, 0);
	} else {
		linear = (u32)linear;
		if (linear > cs->limit)
			return emu_gp(e, 0);
		if (cs->limit - linear < left)
			len = (unsigned int)(cs->limit - linear + 1);
		linear = (u32)(linear + cs->base);
	}
	if (len > 0x1000 - (linear & 0xfff))
		len = (unsigned int)(0x1000 - (linear & 0xfff));
	st = e->ops->fetch(e, linear, e->bytes + e->nbytes, len);
	if (!st)
		e->nbytes += (u8)len;
	return st;
}

static enum emu_status fetch_and_decode(struct emu *e)
{
	unsigned int mode = e->mode | (e->amd ? EMU_DECODE_AMD : 0);
	enum emu_status st;
	int ret;

	for (;;) {
		ret = e->nbytes ? emu_decode(&e->insn, e->bytes, e->nbytes, mode) : -ENODATA;
		if (ret != -ENODATA)
			break;
		st = fetch_more(e);
		if (st)
			return st;
	}
	if (ret < 0)
		return emu_gp(e, 0);
	if (ret)
		return emu_ud(e);
	return EMU_OK;
}

static enum emu_status dispatch(struct emu *e)
{
	emu_handler handler;

	if (e->insn.prefixes & (EMU_PFX_VEX | EMU_PFX_EVEX))
		return emu_exec_vex(e);
	switch (e->insn.map) {
	case EMU_MAP_1BYTE:
		handler = emu_handlers_1byte[e->insn.opcode];
		break;
	case EMU_MAP_0F:
		handler = emu_handlers_0f[e->insn.opcode];
		break;
	case EMU_MAP_0F38:
		return emu_exec_0f38(e);
	default:
		return EMU_UNHANDLEABLE;
	}
	return handler ? handler(e) : EMU_UNHANDLEABLE;
}

enum emu_status emulate(struct emu *e)
{
	enum emu_status st;

	e->shadow = EMU_SHADOW_NONE;
	e->repeat = false;
	e->unmask_nmi = false;
	e->resumed = false;
	e->halt = false;
	e->committed = false;
	e->mode = (u8)emu_mode(&e->regs);
	st = fetch_and_decode(e);
	if (st)
		return st;
	st = e->ops->prepare(e);
	if (st)
		return st;
	e->next_rip = e->regs.rip + e->insn.len;
	if (e->mode != EMU_MODE_64) {
		e->next_rip = (u32)e->next_rip;
		if (e->regs.rip + e->insn.len - 1 > e->regs.seg[EMU_CS].limit)
			return emu_gp(e, 0);
	}
	if (e->insn.has_modrm && e->insn.modrm < 0xc0)
		emu_set_ea(e);
	st = dispatch(e);
	if (st)
		return st;
	e->regs.rip = e->next_rip;
	/* IRET, RSM and task switches bring their own RF */
	if (e->repeat)
		e->regs.rflags |= FL_RF;
	else if (!e->unmask_nmi && !e->resumed && !e->committed)
		e->regs.rflags &= ~(u64)FL_RF;
	return EMU_OK;
}

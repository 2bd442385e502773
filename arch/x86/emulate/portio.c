// SPDX-License-Identifier: GPL-2.0
/*
 * Port I/O instructions, and what IOPL guards: the I/O permission map, CLI and STI.
 */
#include "exec.h"

#define TSS_IOMAP	102

/**
 * emu_io_allowed - may the present code access a port?
 * @e: the emulation
 * @port: first port
 * @size: 1, 2 or 4
 *
 * See the SDM, "I/O Permission Bit Map".
 *
 * Return: EMU_OK, or EMU_FAULT with #GP(0) or what reading the TSS raises.
 */
enum emu_status emu_io_allowed(struct emu *e, u16 port, unsigned int size)
{
	const struct emu_seg *tr = &e->regs.seg[EMU_TR];
	enum emu_status st;
	u16 map, bits;
	u32 pos;

	if (!(e->regs.cr0 & CR0_PE) || (!in_v86(e) && e->cpl <= iopl(e)))
		return EMU_OK;
	if (tr->unusable || (tr->type & 0xd) != DESC_TSS32 || tr->limit < TSS_IOMAP + 1)
		return emu_gp(e, 0);
	st = emu_linear_read(e, tr->base + TSS_IOMAP, &map, sizeof(map), EMU_ACC_SYSTEM);
	if (st)
		return st;
	pos = map + port / 8u;
	if (pos + 1 > tr->limit)
		return emu_gp(e, 0);
	st = emu_linear_read(e, tr->base + pos, &bits, sizeof(bits), EMU_ACC_SYSTEM);
	if (st)
		return st;
	if (bits >> (port & 7) & ((1u << size) - 1))
		return emu_gp(e, 0);
	return EMU_OK;
}

/* Ports have no 64-bit form */
unsigned int emu_port_size(const struct emu *e)
{
	unsigned int size = op_size(e);

	return size == 8 ? 4 : size;
}

bool emu_port_insn(const struct emu *e, struct emu_port *p)
{
	const struct emu_insn *i = &e->insn;
	bool string = (i->opcode & 0xfc) == 0x6c, plain = (i->opcode & 0xf4) == 0xe4;

	if (i->map != EMU_MAP_1BYTE || (i->prefixes & (EMU_PFX_VEX | EMU_PFX_EVEX)) ||
	    !(string || plain))
		return false;
	*p = (struct emu_port) {
		.port = string || (i->opcode & 8) ? (u16)e->regs.gpr[RDX] : (u8)i->imm,
		.size = (u8)emu_port_size(e),
		.asize = string ? i->asize : 0,
		.in = !(i->opcode & 2),
		.rep = string && (i->prefixes & (EMU_PFX_REP | EMU_PFX_REPNE)),
	};
	return true;
}

static enum emu_status port_in(struct emu *e, u16 port)
{
	unsigned int size = emu_port_size(e);
	enum emu_status st;
	u32 val;

	st = emu_io_allowed(e, port, size);
	if (st)
		return st;
	st = e->ops->in(e, port, size, &val);
	if (!st)
		emu_gpr_merge(e, RAX, size, val);
	return st;
}

static enum emu_status port_out(struct emu *e, u16 port)
{
	unsigned int size = emu_port_size(e);
	enum emu_status st;

	st = emu_io_allowed(e, port, size);
	if (st)
		return st;
	return e->ops->out(e, port, size, (u32)emu_reg_read(e, RAX, size));
}

enum emu_status emu_op_in_imm(struct emu *e)
{
	return port_in(e, (u8)e->insn.imm);
}

enum emu_status emu_op_in_dx(struct emu *e)
{
	return port_in(e, (u16)e->regs.gpr[RDX]);
}

enum emu_status emu_op_out_imm(struct emu *e)
{
	return port_out(e, (u8)e->insn.imm);
}

enum emu_status emu_op_out_dx(struct emu *e)
{
	return port_out(e, (u16)e->regs.gpr[RDX]);
}

/* Does CLI or STI work on VIF here, instead of faulting? */
static bool virtual_if(const struct emu *e)
{
	if (in_v86(e))
		return e->regs.cr4 & CR4_VME;
	return e->cpl == 3 && (e->regs.cr4 & CR4_PVI);
}

static bool if_allowed(const struct emu *e)
{
	return !(e->regs.cr0 & CR0_PE) || e->cpl <= iopl(e);
}

enum emu_status emu_op_cli(struct emu *e)
{
	if (if_allowed(e))
		e->regs.rflags &= ~(u64)FL_IF;
	else if (virtual_if(e))
		e->regs.rflags &= ~(u64)FL_VIF;
	else
		return emu_gp(e, 0);
	return EMU_OK;
}

/* Interrupts stay off for one more instruction, if they were. */
enum emu_status emu_op_sti(struct emu *e)
{
	if (if_allowed(e)) {
		if (!(e->regs.rflags & FL_IF))
			e->shadow = EMU_SHADOW_STI;
		e->regs.rflags |= FL_IF;
		return EMU_OK;
	}
	if (!virtual_if(e) || (e->regs.rflags & FL_VIP))
		return emu_gp(e, 0);
	e->regs.rflags |= FL_VIF;
	return EMU_OK;
}

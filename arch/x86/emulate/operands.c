// SPDX-License-Identifier: GPL-2.0
/*
 * Operands: general registers, and memory through segmentation.
 *
 * Every segment check happens here (limits, types, canonical form, alignment); what is behind a
 * linear address is the callbacks' business.
 */
#include "exec.h"

/* AH, CH, DH, BH: byte registers 4..7 without REX */
static bool is_high_byte(const struct emu *e, unsigned int reg, unsigned int size)
{
	return size == 1 && reg >= 4 && reg < 8 && !e->insn.rex;
}

/**
 * emu_reg_read - read a register operand
 * @e: the emulation
 * @reg: register number, 0..15
 * @size: 1, 2, 4 or 8
 *
 * Return: the value, zero-extended.
 */
u64 emu_reg_read(const struct emu *e, unsigned int reg, unsigned int size)
{
	if (is_high_byte(e, reg, size))
		return e->regs.gpr[reg & 3] >> 8 & 0xff;
	return e->regs.gpr[reg & 15] & size_mask(size);
}

/*
 * Write the low @size bytes of a register, by the rules for results: 4 bytes clear the upper
 * half.
 */
void emu_gpr_merge(struct emu *e, unsigned int reg, unsigned int size, u64 val)
{
	u64 *gpr = &e->regs.gpr[reg & 15];

	if (size >= 4)
		*gpr = val & size_mask(size);
	else
		*gpr = (*gpr & ~size_mask(size)) | (val & size_mask(size));
}

/**
 * emu_reg_write - write a register operand
 * @e: the emulation
 * @reg: register number, 0..15
 * @size: 1, 2, 4 or 8
 * @val: upper bits are ignored
 */
void emu_reg_write(struct emu *e, unsigned int reg, unsigned int size, u64 val)
{
	if (is_high_byte(e, reg, size))
		e->regs.gpr[reg & 3] = (e->regs.gpr[reg & 3] & ~0xff00ull) | (val & 0xff) << 8;
	else
		emu_gpr_merge(e, reg, size, val);
}

u64 emu_addr_mask(const struct emu *e)
{
	return size_mask(e->insn.asize);
}

/* 16-bit addressing: pairs of registers by ModRM.rm */
static u64 ea_16(const struct emu *e, unsigned int *seg)
{
	static const u8 base[8] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
	static const u8 index[4] = { RSI, RDI, RSI, RDI };
	const u64 *gpr = e->regs.gpr;
	u8 rm = e->insn.modrm & 7;
	u64 ea = (u64)(s64)e->insn.disp;

	if (rm == 6 && e->insn.modrm < 0x40)
		return ea;
	if (base[rm] == RBP)
		*seg = EMU_SS;
	ea += gpr[base[rm]];
	if (rm < 4)
		ea += gpr[index[rm]];
	return ea;
}

static u64 ea_sib(const struct emu *e, unsigned int *seg)
{
	unsigned int base = (e->insn.sib & 7) | (e->insn.rex & EMU_REX_B ? 8 : 0);
	unsigned int index = (e->insn.sib >> 3 & 7) | (e->insn.rex & EMU_REX_X ? 8 : 0);
	u64 ea = (u64)(s64)e->insn.disp;

	if ((base & 7) != 5 || e->insn.modrm >= 0x40) {
		ea += e->regs.gpr[base];
		if (base == RSP || base == RBP)
			*seg = EMU_SS;
	}
	if (index != 4)
		ea += e->regs.gpr[index] << (e->insn.sib >> 6);
	return ea;
}

static u64 ea_32(const struct emu *e, unsigned int *seg)
{
	unsigned int rm = modrm_rm(e);
	u64 ea = (u64)(s64)e->insn.disp;

	if ((rm & 7) == 4)
		return ea_sib(e, seg);
	if ((rm & 7) == 5 && e->insn.modrm < 0x40)
		return e->mode == EMU_MODE_64 ? ea + e->next_rip : ea;
	if (rm == RBP)
		*seg = EMU_SS;
	return ea + e->regs.gpr[rm];
}

/**
 * emu_set_ea - compute segment and offset of the memory operand that ModRM names
 * @e: the emulation; @e->next_rip is the address of the next instruction
 */
void emu_set_ea(struct emu *e)
{
	unsigned int seg = EMU_DS;

	e->ea = (e->insn.asize == 2 ? ea_16(e, &seg) : ea_32(e, &seg)) & emu_addr_mask(e);
	if (e->insn.seg != EMU_SEG_NONE)
		seg = e->insn.seg;
	e->ea_seg = (u8)seg;
}

bool emu_canonical(const struct emu *e, u64 addr)
{
	unsigned int shift = e->regs.cr4 & CR4_LA57 ? 7 : 16;

	return (u64)((s64)(addr << shift) >> shift) == addr;
}

static enum emu_status seg_fault(struct emu *e, unsigned int seg)
{
	return emu_raise(e, seg == EMU_SS ? VEC_SS : VEC_GP, true, 0);
}

/* Do the segment's type and limit permit the access? Types count in protected mode only. */
static bool seg_permits(const struct emu *e, const struct emu_seg *s, u64 off, unsigned int size,
			bool write)
{
	u64 last = off + size - 1;
	u64 top;

	if (s->unusable)
		return false;
	if (in_protected(e)) {
		if (write && (s->type & 0xa) != 0x2)
			return false;
		if (!write && (s->type & 0xa) == 0x8)
			return false;
	}
	/* With a limit of 4 GB, Intel CPUs let an access wrap around */
	if ((s->type & 0xc) != 0x4)
		return last <= s->limit || (s->limit == 0xffffffff && !e->amd);
	top = s->db ? 0xffffffffu : 0xffffu;
	return off > s->limit && last <= top;
}

/**
 * emu_linear - linear address of an access through a segment
 * @e: the emulation
 * @seg: enum emu_seg_nr; reads through CS are data reads
 * @off: offset, already cut to the address size
 * @size: bytes, at least 1
 * @write: for writing
 * @linear: filled in
 *
 * Return: EMU_OK, or EMU_FAULT with #GP(0), or #SS(0) for the stack segment.
 */
enum emu_status emu_linear(struct emu *e, unsigned int seg, u64 off, unsigned int size, bool write,
			   u64 *linear)
{
	const struct emu_seg *s = &e->regs.seg[seg];

	if (e->mode == EMU_MODE_64) {
		if (seg == EMU_FS || seg == EMU_GS)
			off += s->base;
		*linear = off;
		if (emu_canonical(e, off) && emu_canonical(e, off + size - 1))
			return EMU_OK;
		return seg_fault(e, seg);
	}
	if (!seg_permits(e, s, off, size, write))
		return seg_fault(e, seg);
	*linear = (u32)(s->base + off);
	return EMU_OK;
}

/**
 * emu_check_align - alignment check of a data access
 * @e: the emulation
 * @linear: address
 * @align: power of two that the type asks for
 *
 * Return: EMU_OK, or EMU_FAULT with #AC(0).
 */
enum emu_status emu_check_align(struct emu *e, u64 linear, unsigned int align)
{
	if (e->cpl != 3 || !(linear & (align - 1)) || !(e->regs.cr0 & CR0_AM) ||
	    !(e->regs.rflags & FL_AC))
		return EMU_OK;
	return emu_raise(e, VEC_AC, true, 0);
}

/*
 * Outside 64-bit mode linear addresses wrap at 4 GB (long mode's tables do not): cut the address,
 * which may be the sum of a base and an offset.  How much of the range lies below?
 */
static unsigned int before_wrap(const struct emu *e, u64 *linear, unsigned int size,
				unsigned int flags)
{
	if (e->mode == EMU_MODE_64 || ((flags & EMU_ACC_SYSTEM) && in_long_mode(e)))
		return size;
	*linear = (u32)*linear;
	return *linear + size <= 0x100000000ull ? size : (unsigned int)(0x100000000ull - *linear);
}

enum emu_status emu_linear_read(struct emu *e, u64 linear, void *buf, unsigned int size,
				unsigned int flags)
{
	unsigned int first = before_wrap(e, &linear, size, flags);
	enum emu_status st;

	st = e->ops->read(e, linear, buf, first, flags);
	if (st || first == size)
		return st;
	return e->ops->read(e, 0, (u8 *)buf + first, size - first, flags);
}

static enum emu_status probe_write(struct emu *e, u64 linear, unsigned int size,
				   unsigned int flags)
{
	unsigned int first = before_wrap(e, &linear, size, flags);
	enum emu_status st;

	flags |= EMU_ACC_WRITE;
	st = e->ops->probe(e, linear, first, flags);
	if (st || first == size)
		return st;
	return e->ops->probe(e, 0, size - first, flags);
}

enum emu_status emu_linear_write(struct emu *e, u64 linear, const void *buf, unsigned int size,
				 unsigned int flags)
{
	unsigned int first = before_wrap(e, &linear, size, flags);
	enum emu_status st;

	if (first != size) {
		st = probe_write(e, linear, size, flags);
		if (st)
			return st;
	}
	st = e->ops->write(e, linear, buf, first, flags);
	if (st || first == size)
		return st;
	return e->ops->write(e, 0, (const u8 *)buf + first, size - first, flags);
}

static enum emu_status mem_read_flags(struct emu *e, unsigned int seg, u64 off, unsigned int size,
				      u64 *val, unsigned int flags)
{
	enum emu_status st;

	*val = 0;
	st = emu_linear(e, seg, off, size, flags & EMU_ACC_WRITE, &e->linear);
	if (st)
		return st;
	st = emu_check_align(e, e->linear, size);
	if (st)
		return st;
	return emu_linear_read(e, e->linear, val, size, flags);
}

enum emu_status emu_mem_read(struct emu *e, unsigned int seg, u64 off, unsigned int size, u64 *val)
{
	return mem_read_flags(e, seg, off, size, val, 0);
}

enum emu_status emu_mem_write(struct emu *e, unsigned int seg, u64 off, unsigned int size, u64 val)
{
	enum emu_status st;
	u64 linear;

	st = emu_linear(e, seg, off, size, true, &linear);
	if (st)
		return st;
	st = emu_check_align(e, linear, size);
	if (st)
		return st;
	return emu_linear_write(e, linear, &val, size, 0);
}

/* Would emu_mem_write() succeed? */
enum emu_status emu_mem_probe(struct emu *e, unsigned int seg, u64 off, unsigned int size)
{
	enum emu_status st;
	u64 linear;

	st = emu_linear(e, seg, off, size, true, &linear);
	if (st)
		return st;
	st = emu_check_align(e, linear, size);
	return st ? st : probe_write(e, linear, size, 0);
}

/* The operand that ModRM.mod and ModRM.rm name */
enum emu_status emu_rm_read(struct emu *e, unsigned int size, u64 *val)
{
	if (mod_is_reg(e)) {
		*val = emu_reg_read(e, modrm_rm(e), size);
		return EMU_OK;
	}
	return emu_mem_read(e, e->ea_seg, e->ea, size, val);
}

enum emu_status emu_rm_write(struct emu *e, unsigned int size, u64 val)
{
	if (mod_is_reg(e)) {
		emu_reg_write(e, modrm_rm(e), size, val);
		return EMU_OK;
	}
	return emu_mem_write(e, e->ea_seg, e->ea, size, val);
}

/**
 * emu_rmw_begin - read the operand that ModRM names in order to change it
 * @e: the emulation; @e->linear is left for emu_rmw_end()
 * @size: 1, 2, 4 or 8
 * @val: filled in
 */
enum emu_status emu_rmw_begin(struct emu *e, unsigned int size, u64 *val)
{
	if (mod_is_reg(e)) {
		*val = emu_reg_read(e, modrm_rm(e), size);
		return EMU_OK;
	}
	return mem_read_flags(e, e->ea_seg, e->ea, size, val, EMU_ACC_WRITE);
}

/**
 * emu_rmw_end - write back the operand of emu_rmw_begin()
 * @e: the emulation
 * @size: as before
 * @old: what emu_rmw_begin() gave
 * @val: new value
 * @locked: atomically
 */
enum emu_status emu_rmw_end(struct emu *e, unsigned int size, u64 old, u64 val, bool locked)
{
	if (mod_is_reg(e)) {
		emu_reg_write(e, modrm_rm(e), size, val);
		return EMU_OK;
	}
	if (!locked)
		return emu_linear_write(e, e->linear, &val, size, 0);
	if (before_wrap(e, &e->linear, size, 0) != size)
		return EMU_UNHANDLEABLE;
	return e->ops->cmpxchg(e, e->linear, &old, &val, size, 0);
}

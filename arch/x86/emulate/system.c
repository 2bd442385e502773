// SPDX-License-Identifier: GPL-2.0
/*
 * System instructions: control and debug registers, MSRs, and what needs privilege level 0.
 */
#include "exec.h"

#define MSR_KERNEL_GS_BASE	0xc0000102u
#define DR6_BD			0x2000u
#define DR7_GD			0x2000u

static bool privileged(const struct emu *e)
{
	return e->cpl == 0;
}

/* A 64-bit register from EDX:EAX */
static u64 edx_eax(const struct emu *e)
{
	return (u64)(u32)e->regs.gpr[RDX] << 32 | (u32)e->regs.gpr[RAX];
}

static void set_edx_eax(struct emu *e, u64 val)
{
	e->regs.gpr[RAX] = (u32)val;
	e->regs.gpr[RDX] = val >> 32;
}

enum emu_status emu_op_ud(struct emu *e)
{
	return emu_ud(e);
}

enum emu_status emu_op_hlt(struct emu *e)
{
	return privileged(e) ? e->ops->hlt(e) : emu_gp(e, 0);
}

/*
 * INVD is done as WBINVD: to lose a guest's data would be within its rights, but is never what it
 * wants
 */
enum emu_status emu_op_wbinvd(struct emu *e)
{
	return privileged(e) ? e->ops->wbinvd(e) : emu_gp(e, 0);
}

enum emu_status emu_op_clts(struct emu *e)
{
	return privileged(e) ? e->ops->set_cr(e, 0, e->regs.cr0 & ~CR0_TS) : emu_gp(e, 0);
}

enum emu_status emu_op_cpuid(struct emu *e)
{
	u32 regs[4] = {
		(u32)e->regs.gpr[RAX],
		(u32)e->regs.gpr[RBX],
		(u32)e->regs.gpr[RCX],
		(u32)e->regs.gpr[RDX],
	};
	enum emu_status st;

	st = e->ops->cpuid(e, regs);
	if (st)
		return st;
	e->regs.gpr[RAX] = regs[0];
	e->regs.gpr[RBX] = regs[1];
	e->regs.gpr[RCX] = regs[2];
	e->regs.gpr[RDX] = regs[3];
	return EMU_OK;
}

enum emu_status emu_op_rdtsc(struct emu *e)
{
	enum emu_status st;
	u64 tsc;

	if ((e->regs.cr4 & CR4_TSD) && !privileged(e))
		return emu_gp(e, 0);
	st = e->ops->rdtsc(e, &tsc);
	if (!st)
		set_edx_eax(e, tsc);
	return st;
}

static enum emu_status rdtscp(struct emu *e)
{
	enum emu_status st;
	u64 tsc, aux;

	if (!(e->features & EMU_FEAT_RDTSCP))
		return emu_ud(e);
	if ((e->regs.cr4 & CR4_TSD) && !privileged(e))
		return emu_gp(e, 0);
	st = e->ops->rdmsr(e, MSR_IA32_TSC_AUX, &aux);
	if (st)
		return st;
	st = e->ops->rdtsc(e, &tsc);
	if (st)
		return st;
	set_edx_eax(e, tsc);
	e->regs.gpr[RCX] = (u32)aux;
	return EMU_OK;
}

enum emu_status emu_op_rdpmc(struct emu *e)
{
	enum emu_status st;
	u64 val;

	if (!(e->regs.cr4 & CR4_PCE) && !privileged(e))
		return emu_gp(e, 0);
	st = e->ops->rdpmc(e, (u32)e->regs.gpr[RCX], &val);
	if (!st)
		set_edx_eax(e, val);
	return st;
}

enum emu_status emu_op_rdmsr(struct emu *e)
{
	enum emu_status st;
	u64 val;

	if (!privileged(e))
		return emu_gp(e, 0);
	st = e->ops->rdmsr(e, (u32)e->regs.gpr[RCX], &val);
	if (!st)
		set_edx_eax(e, val);
	return st;
}

enum emu_status emu_op_wrmsr(struct emu *e)
{
	if (!privileged(e))
		return emu_gp(e, 0);
	return e->ops->wrmsr(e, (u32)e->regs.gpr[RCX], edx_eax(e));
}

enum emu_status emu_op_rsm(struct emu *e)
{
	return e->ops->rsm(e);
}

/* Not executed: their exits do not need it */
enum emu_status emu_op_syscall(struct emu *e)
{
	(void)e;
	return EMU_UNHANDLEABLE;
}

enum emu_status emu_op_sysret(struct emu *e)
{
	(void)e;
	return EMU_UNHANDLEABLE;
}

enum emu_status emu_op_sysenter(struct emu *e)
{
	(void)e;
	return EMU_UNHANDLEABLE;
}

enum emu_status emu_op_sysexit(struct emu *e)
{
	(void)e;
	return EMU_UNHANDLEABLE;
}

/* CR8 has two names: REX.R, and on AMD CPUs LOCK with CR0 */
static unsigned int cr_number(const struct emu *e)
{
	unsigned int nr = modrm_reg(e);

	if (!(e->insn.prefixes & EMU_PFX_LOCK))
		return nr;
	return nr == 0 && (e->features & EMU_FEAT_ALTMOVCR8) ? 8 : 16;
}

static u64 read_cr(const struct emu *e, unsigned int nr)
{
	switch (nr) {
	case 0:
		return e->regs.cr0;
	case 2:
		return e->regs.cr2;
	case 3:
		return e->regs.cr3;
	case 4:
		return e->regs.cr4;
	default:
		return e->regs.cr8;
	}
}

/* 0F 20, 0F 22: the operand is 64 bits in 64-bit mode, else 32 */
enum emu_status emu_op_mov_cr(struct emu *e)
{
	unsigned int size = e->mode == EMU_MODE_64 ? 8 : 4;
	unsigned int nr = cr_number(e);
	u64 val;

	if (nr == 1 || (nr > 4 && nr != 8))
		return emu_ud(e);
	if (!privileged(e))
		return emu_gp(e, 0);
	if (e->insn.opcode == 0x20) {
		emu_gpr_merge(e, modrm_rm(e), size, read_cr(e, nr));
		return EMU_OK;
	}
	val = e->regs.gpr[modrm_rm(e)] & size_mask(size);
	if (nr != 2)
		return e->ops->set_cr(e, nr, val);
	e->regs.cr2 = val;
	return EMU_OK;
}

/* General detect: DR7.GD makes any access of a debug register a #DB */
static enum emu_status check_general_detect(struct emu *e)
{
	enum emu_status st;
	u64 dr7;

	st = e->ops->get_dr(e, 7, &dr7);
	if (st || !(dr7 & DR7_GD))
		return st;
	emu_raise(e, VEC_DB, false, 0);
	e->exc.has_payload = true;
	e->exc.payload = DR6_BD;
	return EMU_FAULT;
}

/* 0F 21, 0F 23 */
enum emu_status emu_op_mov_dr(struct emu *e)
{
	unsigned int size = e->mode == EMU_MODE_64 ? 8 : 4;
	unsigned int nr = modrm_reg(e);
	enum emu_status st;
	u64 val;

	if (nr > 7 || (e->insn.prefixes & EMU_PFX_LOCK))
		return emu_ud(e);
	if ((nr & 6) == 4) {
		if (e->regs.cr4 & CR4_DE)
			return emu_ud(e);
		nr += 2;
	}
	if (!privileged(e))
		return emu_gp(e, 0);
	st = check_general_detect(e);
	if (st)
		return st;
	if (e->insn.opcode == 0x23) {
		val = e->regs.gpr[modrm_rm(e)] & size_mask(size);
		return nr >= 6 && val >> 32 ? emu_gp(e, 0) : e->ops->set_dr(e, nr, val);
	}
	st = e->ops->get_dr(e, nr, &val);
	if (!st)
		emu_gpr_merge(e, modrm_rm(e), size, val);
	return st;
}

/* SMSW: a register takes the operand size, memory 16 bits */
static enum emu_status smsw(struct emu *e)
{
	if ((e->regs.cr4 & CR4_UMIP) && !privileged(e))
		return emu_gp(e, 0);
	return emu_rm_write(e, mod_is_reg(e) ? e->insn.osize : 2, e->regs.cr0);
}

/* LMSW: PE, MP, EM, TS; PE can be set but not cleared */
static enum emu_status lmsw(struct emu *e)
{
	enum emu_status st;
	u64 val;

	if (!privileged(e))
		return emu_gp(e, 0);
	st = emu_rm_read(e, 2, &val);
	if (st)
		return st;
	return e->ops->set_cr(e, 0, (e->regs.cr0 & ~0xeull) | (val & 0xf));
}

/* No limit or type is checked; an address that is not canonical does nothing. */
static enum emu_status invlpg(struct emu *e)
{
	const struct emu_seg *seg = &e->regs.seg[e->ea_seg];
	u64 linear = e->ea;

	if (!privileged(e))
		return emu_gp(e, 0);
	if (e->mode != EMU_MODE_64)
		linear = (u32)(linear + seg->base);
	else if (e->ea_seg == EMU_FS || e->ea_seg == EMU_GS)
		linear += seg->base;
	return emu_canonical(e, linear) ? e->ops->invlpg(e, linear) : EMU_OK;
}

static enum emu_status swapgs(struct emu *e)
{
	u64 *base = &e->regs.seg[EMU_GS].base;
	enum emu_status st;
	u64 kernel;

	if (!privileged(e))
		return emu_gp(e, 0);
	st = e->ops->rdmsr(e, MSR_KERNEL_GS_BASE, &kernel);
	if (st)
		return st;
	st = e->ops->wrmsr(e, MSR_KERNEL_GS_BASE, *base);
	if (!st)
		*base = kernel;
	return st;
}

static enum emu_status xgetbv(struct emu *e)
{
	enum emu_status st;
	u64 val;

	if (!(e->regs.cr4 & CR4_OSXSAVE))
		return emu_ud(e);
	st = e->ops->xgetbv(e, (u32)e->regs.gpr[RCX], &val);
	if (!st)
		set_edx_eax(e, val);
	return st;
}

static enum emu_status xsetbv(struct emu *e)
{
	if (!(e->regs.cr4 & CR4_OSXSAVE))
		return emu_ud(e);
	if (!privileged(e))
		return emu_gp(e, 0);
	return e->ops->xsetbv(e, (u32)e->regs.gpr[RCX], edx_eax(e));
}

/* Register forms of 0F 01 that are whole opcodes */
static enum emu_status grp7_reg(struct emu *e)
{
	if (e->insn.prefixes & (EMU_PFX_OPSIZE | EMU_PFX_REP | EMU_PFX_REPNE))
		return EMU_UNHANDLEABLE;
	switch (e->insn.modrm) {
	case 0xc1:
	case 0xd9:
		return e->ops->hypercall(e);
	case 0xd0:
		return xgetbv(e);
	case 0xd1:
		return xsetbv(e);
	case 0xf8:
		return swapgs(e);
	case 0xf9:
		return rdtscp(e);
	default:
		return EMU_UNHANDLEABLE;
	}
}

/* 0F 01 */
enum emu_status emu_op_grp7(struct emu *e)
{
	unsigned int op = modrm_ext(e);

	if (op == 4)
		return smsw(e);
	if (op == 6)
		return lmsw(e);
	if (mod_is_reg(e))
		return grp7_reg(e);
	if (op == 7)
		return invlpg(e);
	if (op == 5)
		return EMU_UNHANDLEABLE;
	return emu_table_op(e, op);
}

static enum emu_status fs_gs_base(struct emu *e, unsigned int op)
{
	u64 *base = &e->regs.seg[op & 1 ? EMU_GS : EMU_FS].base;
	unsigned int size = e->insn.osize == 8 ? 8 : 4;
	u64 val;

	if (!(e->features & EMU_FEAT_FSGSBASE) || !(e->regs.cr4 & CR4_FSGSBASE))
		return emu_ud(e);
	if (op < 2) {
		emu_gpr_merge(e, modrm_rm(e), size, *base);
		return EMU_OK;
	}
	val = emu_reg_read(e, modrm_rm(e), size);
	if (!emu_canonical(e, val))
		return emu_gp(e, 0);
	*base = val;
	return EMU_OK;
}

/* 0F AE: fences and FS/GS bases; states of FPU and SSE are not moved here */
enum emu_status emu_op_grp15(struct emu *e)
{
	unsigned int op = modrm_ext(e);

	if (!mod_is_reg(e))
		return EMU_UNHANDLEABLE;
	if ((e->insn.prefixes & EMU_PFX_REP) && op < 4)
		return fs_gs_base(e, op);
	if (e->insn.prefixes & (EMU_PFX_OPSIZE | EMU_PFX_REP | EMU_PFX_REPNE))
		return EMU_UNHANDLEABLE;
	return EMU_OK;
}

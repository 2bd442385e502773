/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the executor share.
 *
 * A handler executes the decoded instruction e->insn.  It reads operands, then writes memory,
 * then registers and flags, so that a fault or EMU_IO at any callback leaves e->regs untouched.
 * Control transfers set e->next_rip; emulate() moves RIP.
 */
#ifndef STRATA_EMULATE_EXEC_H
#define STRATA_EMULATE_EXEC_H

#include "emulate.h"

#include <linux/string.h>

/* Registers by encoding */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

#define FL_CF		0x00000001u
#define FL_PF		0x00000004u
#define FL_AF		0x00000010u
#define FL_ZF		0x00000040u
#define FL_SF		0x00000080u
#define FL_TF		0x00000100u
#define FL_IF		0x00000200u
#define FL_DF		0x00000400u
#define FL_OF		0x00000800u
#define FL_IOPL		0x00003000u
#define FL_NT		0x00004000u
#define FL_RF		0x00010000u
#define FL_VM		0x00020000u
#define FL_AC		0x00040000u
#define FL_VIF		0x00080000u
#define FL_VIP		0x00100000u
#define FL_ID		0x00200000u
#define FL_ONE		0x00000002u
#define FL_ARITH	(FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE		0x00000001ull
#define CR0_MP		0x00000002ull
#define CR0_EM		0x00000004ull
#define CR0_TS		0x00000008ull
#define CR0_AM		0x00040000ull
#define CR0_PG		0x80000000ull
#define CR4_VME		0x00000001ull
#define CR4_PVI		0x00000002ull
#define CR4_TSD		0x00000004ull
#define CR4_DE		0x00000008ull
#define CR4_PCE		0x00000100ull
#define CR4_OSFXSR	0x00000200ull
#define CR4_UMIP	0x00000800ull
#define CR4_LA57	0x00001000ull
#define CR4_FSGSBASE	0x00010000ull
#define CR4_OSXSAVE	0x00040000ull
#define CR4_CET		0x00800000ull
#define EFER_SCE	0x00000001ull
#define EFER_LME	0x00000100ull
#define EFER_LMA	0x00000400ull

#define VEC_DE		0
#define VEC_DB		1
#define VEC_BP		3
#define VEC_OF		4
#define VEC_BR		5
#define VEC_UD		6
#define VEC_NM		7
#define VEC_TS		10
#define VEC_NP		11
#define VEC_SS		12
#define VEC_GP		13
#define VEC_PF		14
#define VEC_AC		17

#define MSR_IA32_TSC_AUX	0xc0000103u

typedef enum emu_status (*emu_handler)(struct emu *e);

extern const emu_handler emu_handlers_1byte[256];
extern const emu_handler emu_handlers_0f[256];

/* State that many checks ask for */
static inline bool in_protected(const struct emu *e)
{
	return (e->regs.cr0 & CR0_PE) && !(e->regs.rflags & FL_VM);
}

static inline bool in_v86(const struct emu *e)
{
	return (e->regs.cr0 & CR0_PE) && (e->regs.rflags & FL_VM);
}

static inline bool in_long_mode(const struct emu *e)
{
	return e->regs.efer & EFER_LMA;
}

static inline unsigned int iopl(const struct emu *e)
{
	return e->regs.rflags >> 12 & 3;
}

static inline bool mod_is_reg(const struct emu *e)
{
	return e->insn.modrm >= 0xc0;
}

/* ModRM.reg and ModRM.rm as register numbers */
static inline unsigned int modrm_reg(const struct emu *e)
{
	return (e->insn.modrm >> 3 & 7) | (e->insn.rex & EMU_REX_R ? 8 : 0);
}

static inline unsigned int modrm_rm(const struct emu *e)
{
	return (e->insn.modrm & 7) | (e->insn.rex & EMU_REX_B ? 8 : 0);
}

/* The member of a group */
static inline unsigned int modrm_ext(const struct emu *e)
{
	return e->insn.modrm >> 3 & 7;
}

/* Register number in the low bits of the opcode */
static inline unsigned int opcode_reg(const struct emu *e)
{
	return (e->insn.opcode & 7) | (e->insn.rex & EMU_REX_B ? 8 : 0);
}

/* Operand size of an opcode whose bit 0 tells byte forms from others */
static inline unsigned int op_size(const struct emu *e)
{
	return e->insn.opcode & 1 ? e->insn.osize : 1;
}

static inline u64 size_mask(unsigned int size)
{
	return ~0ull >> (64 - 8 * size);
}

static inline u64 sign_bit(unsigned int size)
{
	return 1ull << (8 * size - 1);
}

static inline s64 sign_extend(u64 val, unsigned int size)
{
	return (s64)(val << (64 - 8 * size)) >> (64 - 8 * size);
}

static inline enum emu_status emu_ud(struct emu *e)
{
	return emu_raise(e, VEC_UD, false, 0);
}

static inline enum emu_status emu_gp(struct emu *e, u16 error)
{
	return emu_raise(e, VEC_GP, true, error);
}

/* operands.c: registers and memory */
u64 emu_reg_read(const struct emu *e, unsigned int reg, unsigned int size);
void emu_reg_write(struct emu *e, unsigned int reg, unsigned int size, u64 val);
void emu_gpr_merge(struct emu *e, unsigned int reg, unsigned int size, u64 val);
void emu_set_ea(struct emu *e);
bool emu_canonical(const struct emu *e, u64 addr);
enum emu_status emu_linear(struct emu *e, unsigned int seg, u64 off, unsigned int size, bool write,
			   u64 *linear);
enum emu_status emu_check_align(struct emu *e, u64 linear, unsigned int align);
enum emu_status emu_linear_read(struct emu *e, u64 linear, void *buf, unsigned int size,
				unsigned int flags);
enum emu_status emu_linear_write(struct emu *e, u64 linear, const void *buf, unsigned int size,
				 unsigned int flags);
enum emu_status emu_mem_probe(struct emu *e, unsigned int seg, u64 off, unsigned int size);
enum emu_status emu_mem_read(struct emu *e, unsigned int seg, u64 off, unsigned int size, u64 *val);
enum emu_status emu_mem_write(struct emu *e, unsigned int seg, u64 off, unsigned int size, u64 val);
enum emu_status emu_rm_read(struct emu *e, unsigned int size, u64 *val);
enum emu_status emu_rm_write(struct emu *e, unsigned int size, u64 val);
enum emu_status emu_rmw_begin(struct emu *e, unsigned int size, u64 *val);
enum emu_status emu_rmw_end(struct emu *e, unsigned int size, u64 old, u64 val, bool locked);
u64 emu_addr_mask(const struct emu *e);

/* alu.c: results and flags; @flags is RFLAGS in and out */
enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
u64 emu_alu(unsigned int op, u64 a, u64 b, unsigned int size, u64 *flags);
u64 emu_incdec(bool dec, u64 a, unsigned int size, u64 *flags);
u64 emu_shift(unsigned int op, u64 a, unsigned int count, unsigned int size, u64 *flags);
u64 emu_double_shift(bool right, u64 a, u64 b, unsigned int count, unsigned int size, u64 *flags);
void emu_mul(u64 a, u64 b, unsigned int size, u64 *lo, u64 *hi, u64 *flags);
void emu_imul(u64 a, u64 b, unsigned int size, u64 *lo, u64 *hi, u64 *flags);
bool emu_div(u64 hi, u64 lo, u64 by, unsigned int size, u64 *quot, u64 *rem);
bool emu_idiv(u64 hi, u64 lo, u64 by, unsigned int size, u64 *quot, u64 *rem);
void emu_flags_logic(u64 res, unsigned int size, u64 *flags);
bool emu_cond(unsigned int cc, u64 flags);

/* stack.c */
unsigned int emu_stack_size(const struct emu *e);
u64 emu_stack_mask(const struct emu *e);
enum emu_status emu_push_at(struct emu *e, u64 *rsp, unsigned int size, u64 val);
enum emu_status emu_pop_at(struct emu *e, u64 *rsp, unsigned int size, u64 *val);
void emu_set_rsp(struct emu *e, u64 rsp);

/* segment.c: descriptors */
#define SEL_RPL		3u
#define SEL_TI		4u

/*
 * Types of system descriptors; in long mode only LDT, the 32-bit ones (of 16 bytes) and gates
 * exist
 */
#define DESC_TSS16	1
#define DESC_LDT	2
#define DESC_CALL16	4
#define DESC_TASK_GATE	5
#define DESC_TSS32	9
#define DESC_CALL32	12
#define DESC_BUSY	2	/* or-ed to a TSS's type */

/* In the high word of a descriptor */
#define DESC_HI_ACCESSED	0x00000100u
#define DESC_HI_BUSY		0x00000200u
#define DESC_HI_S		0x00001000u
#define DESC_HI_P		0x00008000u

/* struct desc - a segment descriptor, with where it lies and the selector that named it */
struct desc {
	u64 linear;
	u32 lo;
	u32 hi;
	u32 base_hi;	/* of the 16-byte system descriptors of long mode, else 0 */
	u16 sel;
};

/* Why CS is loaded: which privilege levels are right */
enum cs_load { CS_JUMP, CS_RETURN, CS_TASK };

static inline unsigned int desc_type(const struct desc *d)
{
	return d->hi >> 8 & 0xf;
}

static inline unsigned int desc_dpl(const struct desc *d)
{
	return d->hi >> 13 & 3;
}

static inline bool sel_null(u16 sel)
{
	return !(sel & ~SEL_RPL);
}

enum emu_status emu_sel_fault(struct emu *e, u8 vector, u16 sel);
enum emu_status emu_desc_read(struct emu *e, u16 sel, u8 vector, struct desc *d);
enum emu_status emu_desc_read_high(struct emu *e, u8 vector, struct desc *d);
enum emu_status emu_desc_replace(struct emu *e, const struct desc *d, u32 new_hi);
enum emu_status emu_desc_accessed(struct emu *e, const struct desc *d, struct emu_seg *seg);
void emu_desc_decode(const struct desc *d, struct emu_seg *seg);
void emu_seg_real(const struct emu *e, unsigned int nr, u16 sel, struct emu_seg *seg);
void emu_seg_null(const struct emu *e, unsigned int nr, u16 sel, struct emu_seg *seg);
enum emu_status emu_seg_check(struct emu *e, unsigned int nr, u16 sel, unsigned int cpl, u8 vector,
			      struct emu_seg *seg);
enum emu_status emu_cs_check(struct emu *e, enum cs_load how, const struct desc *d,
			     struct emu_seg *seg);
enum emu_status emu_ldt_check(struct emu *e, u16 sel, u8 vector, struct emu_seg *seg);

/* control.c */
enum emu_status emu_set_next(struct emu *e, u64 rip);
u64 emu_flags_merge(u64 old, u64 val, u64 mask);

/* task.c */
enum emu_status emu_task_far(struct emu *e, const struct desc *d, enum emu_task_reason reason);
enum emu_status emu_task_return(struct emu *e);

/* portio.c */
unsigned int emu_port_size(const struct emu *e);
enum emu_status emu_io_allowed(struct emu *e, u16 port, unsigned int size);

/* tables.c */
enum emu_status emu_table_op(struct emu *e, unsigned int op);

/* simd.c: maps other than one-byte and 0F, and VEX */
enum emu_status emu_exec_0f38(struct emu *e);
enum emu_status emu_exec_vex(struct emu *e);

/* The handlers, one per opcode or family, for the tables in handlers.c */
#define EMU_HANDLERS(H) \
	H(alu_rm_r) H(alu_r_rm) H(alu_acc_imm) H(grp1) H(test_rm_r) H(test_acc_imm) H(incdec_reg) H(grp3) H(grp4) \
	H(shift_imm) H(shift_1) H(shift_cl) H(imul_r_rm) H(imul_r_rm_imm) H(shld_imm) H(shld_cl) \
	H(bt_r) H(bt_imm) H(bsf) H(bsr) H(popcnt) H(cmpxchg) H(grp9) H(xadd) H(bcd_adjust) H(aam) H(aad) \
	H(mov_rm_r) H(mov_r_rm) H(mov_moffs) H(mov_reg_imm) H(mov_rm_imm) H(mov_sreg_rm) H(mov_rm_sreg) \
	H(movzx) H(movsx) H(movsxd) H(movnti) H(xchg_rm) H(xchg_acc) H(lea) H(load_far) H(cbw) H(cwd) H(cmov) \
	H(setcc) H(bswap) H(xlat) H(salc) H(lahf) H(sahf) H(flag_op) H(nop) H(nop_modrm) \
	H(movs) H(cmps) H(stos) H(lods) H(scas) H(ins) H(outs) \
	H(push_reg) H(pop_reg) H(push_imm) H(pop_rm) H(push_seg) H(pop_seg) H(pusha) H(popa) H(pushf) H(popf) \
	H(enter) H(leave) \
	H(jcc) H(jmp_rel) H(call_rel) H(ret) H(loop) H(grp5) H(jmp_far) H(call_far) H(ret_far) H(iret) H(int) \
	H(int3) H(into) H(icebp) H(bound) H(arpl) \
	H(in_imm) H(in_dx) H(out_imm) H(out_dx) H(cli) H(sti) H(hlt) H(grp6) H(grp7) H(lar_lsl) H(mov_cr) \
	H(mov_dr) H(clts) H(wbinvd) H(cpuid) H(rdtsc) H(rdpmc) H(rdmsr) H(wrmsr) H(rsm) H(ud) H(syscall) H(sysret) \
	H(sysenter) H(sysexit) H(grp15) H(x87) H(fwait) \
	H(sse_mov) H(sse_mov_int) H(mov_mmx_xmm) H(movq_d6) H(movnt_e7) H(lddqu) H(mov_half)

#define EMU_DECLARE(name) enum emu_status emu_op_##name(struct emu *e);
EMU_HANDLERS(EMU_DECLARE)

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * Which handler executes which opcode.  An empty entry is an instruction that is decoded but not
 * executed.
 */
#include "exec.h"

#define H(name)		emu_op_##name
#define H2(name)	H(name), H(name)
#define H4(name)	H2(name), H2(name)
#define H8(name)	H4(name), H4(name)
#define H16(name)	H8(name), H8(name)
#define ALU		H2(alu_rm_r), H2(alu_r_rm), H2(alu_acc_imm)
#define NONE		NULL

const emu_handler emu_handlers_1byte[256] = {
	/* 00 */ ALU, H(push_seg), H(pop_seg), ALU, H(push_seg), NONE,
	/* 10 */ ALU, H(push_seg), H(pop_seg), ALU, H(push_seg), H(pop_seg),
	/* 20 */ ALU, NONE, H(bcd_adjust), ALU, NONE, H(bcd_adjust),
	/* 30 */ ALU, NONE, H(bcd_adjust), ALU, NONE, H(bcd_adjust),
	/* 40 */ H16(incdec_reg),
	/* 50 */ H8(push_reg), H8(pop_reg),
	/* 60 */ H(pusha), H(popa), H(bound), H(arpl), NONE, NONE, NONE, NONE,
	/* 68 */ H(push_imm), H(imul_r_rm_imm), H(push_imm), H(imul_r_rm_imm), H2(ins), H2(outs),
	/* 70 */ H16(jcc),
	/* 80 */ H4(grp1), H2(test_rm_r), H2(xchg_rm),
	/* 88 */ H2(mov_rm_r), H2(mov_r_rm), H(mov_rm_sreg), H(lea), H(mov_sreg_rm), H(pop_rm),
	/* 90 */ H8(xchg_acc),
	/* 98 */ H(cbw), H(cwd), H(call_far), H(fwait), H(pushf), H(popf), H(sahf), H(lahf),
	/* a0 */ H4(mov_moffs), H2(movs), H2(cmps),
	/* a8 */ H2(test_acc_imm), H2(stos), H2(lods), H2(scas),
	/* b0 */ H16(mov_reg_imm),
	/* c0 */ H2(shift_imm), H2(ret), H2(load_far), H2(mov_rm_imm),
	/* c8 */ H(enter), H(leave), H2(ret_far), H(int3), H(int), H(into), H(iret),
	/* d0 */ H2(shift_1), H2(shift_cl), H(aam), H(aad), H(salc), H(xlat),
	/* d8 */ H8(x87),
	/* e0 */ H4(loop), H2(in_imm), H2(out_imm),
	/* e8 */ H(call_rel), H(jmp_rel), H(jmp_far), H(jmp_rel), H2(in_dx), H2(out_dx),
	/* f0 */ NONE, H(icebp), NONE, NONE, H(hlt), H(flag_op), H2(grp3),
	/* f8 */ H2(flag_op), H(cli), H(sti), H2(flag_op), H(grp4), H(grp5),
};

const emu_handler emu_handlers_0f[256] = {
	/* 00 */ H(grp6), H(grp7), H2(lar_lsl), NONE, H(syscall), H(clts), H(sysret),
	/* 08 */ H2(wbinvd), NONE, H(ud), NONE, H(nop_modrm), NONE, NONE,
	/* 10 */ H2(sse_mov), H2(mov_half), NONE, NONE, H2(mov_half),
	/* 18 */ H8(nop_modrm),
	/* 20 */ H(mov_cr), H(mov_dr), H(mov_cr), H(mov_dr), NONE, NONE, NONE, NONE,
	/* 28 */ H2(sse_mov), NONE, H(sse_mov), NONE, NONE, NONE, NONE,
	/* 30 */ H(wrmsr), H(rdtsc), H(rdmsr), H(rdpmc), H(sysenter), H(sysexit), NONE, NONE,
	/* 38 */ NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
	/* 40 */ H16(cmov),
	[0x6e] = H(mov_mmx_xmm),
	[0x6f] = H(sse_mov_int),
	[0x7e] = H(mov_mmx_xmm),
	[0x7f] = H(sse_mov_int),
	/* 80 */ H16(jcc),
	/* 90 */ H16(setcc),
	/* a0 */ H(push_seg), H(pop_seg), H(cpuid), H(bt_r), H(shld_imm), H(shld_cl), NONE, NONE,
	/* a8 */ H(push_seg), H(pop_seg), H(rsm), H(bt_r), H(shld_imm), H(shld_cl), H(grp15), H(imul_r_rm),
	/* b0 */ H2(cmpxchg), H(load_far), H(bt_r), H2(load_far), H2(movzx),
	/* b8 */ H(popcnt), H(ud), H(bt_imm), H(bt_r), H(bsf), H(bsr), H2(movsx),
	/* c0 */ H2(xadd), NONE, H(movnti), NONE, NONE, NONE, H(grp9),
	/* c8 */ H8(bswap),
	[0xd6] = H(movq_d6),
	[0xe7] = H(movnt_e7),
	[0xf0] = H(lddqu),
};

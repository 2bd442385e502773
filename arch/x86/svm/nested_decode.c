// SPDX-License-Identifier: GPL-2.0
/*
 * From an instruction to its exit. Pure.
 */
#include "nested_decode.h"

#include <asm/svm.h>

static bool memory_form(const struct emu_insn *i)
{
	return i->modrm < 0xc0;
}

static u8 reg_field(const struct emu_insn *i)
{
	return i->modrm >> 3 & 7;
}

static u8 port_bytes(const struct emu_insn *i)
{
	return !(i->opcode & 1) ? 1 : i->osize == 2 ? 2 : 4;
}

static u16 one_byte(const struct emu_insn *i)
{
	switch (i->opcode) {
	case 0x90:	return i->prefixes & EMU_PFX_REP ? SVM_EXIT_PAUSE : SVM_NO_EXIT;
	case 0x9c:	return SVM_EXIT_PUSHF;
	case 0x9d:	return SVM_EXIT_POPF;
	case 0xcd:	return SVM_EXIT_SWINT;
	case 0xcf:	return SVM_EXIT_IRET;
	case 0xf1:	return SVM_EXIT_ICEBP;
	case 0xf4:	return SVM_EXIT_HLT;
	default:	return SVM_NO_EXIT;
	}
}

/* 0F 01 with a register operand: opcodes of their own, but for SMSW and LMSW */
static u16 group7_register(const struct emu_insn *i)
{
	switch (i->modrm) {
	case 0xc8:	return SVM_EXIT_MONITOR;
	case 0xc9:	return SVM_EXIT_MWAIT;
	case 0xd1:	return SVM_EXIT_XSETBV;
	case 0xd8:	return SVM_EXIT_VMRUN;
	case 0xd9:	return SVM_EXIT_VMMCALL;
	case 0xda:	return SVM_EXIT_VMLOAD;
	case 0xdb:	return SVM_EXIT_VMSAVE;
	case 0xdc:	return SVM_EXIT_STGI;
	case 0xdd:	return SVM_EXIT_CLGI;
	case 0xde:	return SVM_EXIT_SKINIT;
	case 0xdf:	return SVM_EXIT_INVLPGA;
	case 0xf9:	return SVM_EXIT_RDTSCP;
	default:	return SVM_NO_EXIT;
	}
}

static u16 group7(const struct emu_insn *i)
{
	static const u16 memory[8] = {
		SVM_EXIT_GDTR_READ, SVM_EXIT_IDTR_READ, SVM_EXIT_GDTR_WRITE, SVM_EXIT_IDTR_WRITE, SVM_EXIT_READ_CR0,
		SVM_NO_EXIT, SVM_EXIT_WRITE_CR0, SVM_EXIT_INVLPG,
	};
	u8 op = reg_field(i);

	return memory_form(i) || op == 4 || op == 6 ? memory[op] : group7_register(i);
}

static u16 group6(const struct emu_insn *i)
{
	static const u16 exits[4] = {
		SVM_EXIT_LDTR_READ, SVM_EXIT_TR_READ, SVM_EXIT_LDTR_WRITE, SVM_EXIT_TR_WRITE,
	};
	u8 op = reg_field(i);

	return op < 4 ? exits[op] : SVM_NO_EXIT;
}

/* CR8 has a second name: LOCK with CR0 */
static u16 control_register(const struct emu_insn *i)
{
	u16 nr = reg_field(i) | (i->rex & EMU_REX_R || i->prefixes & EMU_PFX_LOCK ? 8 : 0);

	return (i->opcode == 0x20 ? SVM_EXIT_READ_CR0 : SVM_EXIT_WRITE_CR0) + nr;
}

static u16 two_byte(const struct emu_insn *i)
{
	switch (i->opcode) {
	case 0x00:	return group6(i);
	case 0x01:	return group7(i);
	case 0x06:	return SVM_EXIT_WRITE_CR0;
	case 0x08:	return SVM_EXIT_INVD;
	case 0x09:	return SVM_EXIT_WBINVD;
	case 0x20:
	case 0x22:	return control_register(i);
	case 0x21:	return SVM_EXIT_READ_DR0 + reg_field(i);
	case 0x23:	return SVM_EXIT_WRITE_DR0 + reg_field(i);
	case 0x31:	return SVM_EXIT_RDTSC;
	case 0x33:	return SVM_EXIT_RDPMC;
	case 0xa2:	return SVM_EXIT_CPUID;
	case 0xaa:	return SVM_EXIT_RSM;
	default:	return SVM_NO_EXIT;
	}
}

/* IN, OUT, INS, OUTS */
static bool is_port(const struct emu_insn *i)
{
	return (i->opcode & 0xfc) == 0x6c || (i->opcode & 0xf4) == 0xe4;
}

void svm_insn_exit(const struct emu_insn *i, struct svm_insn_exit *x)
{
	*x = (struct svm_insn_exit) { .code = SVM_NO_EXIT };
	if (i->prefixes & (EMU_PFX_VEX | EMU_PFX_EVEX))
		return;
	if (i->map == EMU_MAP_1BYTE && is_port(i)) {
		x->port = port_bytes(i);
		x->port_imm = (i->opcode & 0xfc) == 0xe4;
	} else if (i->map == EMU_MAP_1BYTE) {
		x->code = one_byte(i);
	} else if (i->map == EMU_MAP_0F) {
		x->code = two_byte(i);
		/*
		 * CLTS never; LMSW from memory reads its operand first, and only then is
		 * intercepted selectively.
		 */
		x->selective = x->code == SVM_EXIT_WRITE_CR0 && i->opcode != 0x06 &&
			       !(i->opcode == 0x01 && memory_form(i));
	}
}

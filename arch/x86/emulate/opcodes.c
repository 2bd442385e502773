// SPDX-License-Identifier: GPL-2.0
/*
 * Opcode tables of the decoder: what follows each opcode, and which members of a group exist.
 *
 * From the opcode maps in the AMD APM volume 3 and the Intel SDM volume 2.
 */
#include "opcodes.h"

#define M	A_MODRM
#define ML	(A_MODRM | A_LOCK)
#define MB	(A_MODRM | I_B)
#define X	A_UNDEF
#define P	A_PREFIX
#define N6	A_NO64
#define D6	A_D64
#define JB	(I_B | A_F64)
#define JZ	(I_Z | A_F64)

const u16 emu_opcodes_1byte[256] = {
	/* 00 */ ML, ML, M, M, I_B, I_Z, N6, N6, ML, ML, M, M, I_B, I_Z, N6, G_ESCAPE,
	/* 10 */ ML, ML, M, M, I_B, I_Z, N6, N6, ML, ML, M, M, I_B, I_Z, N6, N6,
	/* 20 */ ML, ML, M, M, I_B, I_Z, P, N6, ML, ML, M, M, I_B, I_Z, P, N6,
	/* 30 */ ML, ML, M, M, I_B, I_Z, P, N6, M, M, M, M, I_B, I_Z, P, N6,
	/* 40 */ N6, N6, N6, N6, N6, N6, N6, N6, N6, N6, N6, N6, N6, N6, N6, N6,
	/* 50 */ D6, D6, D6, D6, D6, D6, D6, D6, D6, D6, D6, D6, D6, D6, D6, D6,
	/* 60 */ N6, N6, M | N6 | G_ESCAPE, M, P, P, P, P, I_Z | D6, M | I_Z, I_B | D6, MB, 0, 0, 0, 0,
	/* 70 */ JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB, JB,
	/* 80 */ MB | G_1, M | I_Z | G_1, MB | G_1 | N6, MB | G_1, M, M, ML, ML,
	/* 88 */ M, M, M, M, M | G_SREG, M | G_MEM, M | G_SREG, M | D6 | G_ESCAPE,
	/* 90 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, I_FAR | N6, 0, D6, D6, 0, 0,
	/* a0 */ I_MOFFS, I_MOFFS, I_MOFFS, I_MOFFS, 0, 0, 0, 0, I_B, I_Z, 0, 0, 0, 0, 0, 0,
	/* b0 */ I_B, I_B, I_B, I_B, I_B, I_B, I_B, I_B, I_V, I_V, I_V, I_V, I_V, I_V, I_V, I_V,
	/* c0 */ MB, MB, I_W | A_F64, A_F64, M | N6 | G_ESCAPE, M | N6 | G_ESCAPE, MB | G_11, M | I_Z | G_11,
	/* c8 */ I_WB | D6, D6, I_W, 0, 0, I_B, N6, 0,
	/* d0 */ M, M, M, M, I_B | N6, I_B | N6, N6, 0, M, M, M, M, M, M, M, M,
	/* e0 */ JB, JB, JB, JB, I_B, I_B, I_B, I_B, JZ, JZ, I_FAR | N6, JB, 0, 0, 0, 0,
	/* f0 */ P, 0, P, P, 0, 0, M | G_3, M | G_3, 0, 0, 0, 0, 0, 0, M | G_4, M | G_5,
};

const u16 emu_opcodes_0f[256] = {
	/* 00 */ M | G_6, M | G_7, M, M, X, 0, 0, 0, 0, 0, X, 0, X, M, 0, MB | G_3DNOW,
	/* 10 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 20 */ M | G_CR, M | G_CR, M | G_CR, M | G_CR, X, X, X, X, M, M, M, M, M, M, M, M,
	/* 30 */ 0, 0, 0, 0, 0, 0, X, 0, G_ESCAPE, X, G_ESCAPE, X, X, X, X, X,
	/* 40 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 50 */ M | G_REG, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 60 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 70 */ MB, MB | G_12, MB | G_13, MB | G_14, M, M, M, 0, M | G_78, M, X, X, M, M, M, M,
	/* 80 */ JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ,
	/* 90 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* a0 */ D6, D6, 0, M, MB, M, X, X, D6, D6, 0, ML, MB, M, M | G_15, M,
	/* b0 */ ML, ML, M | G_MEM, ML, M | G_MEM, M | G_MEM, M, M, M | G_B8, X, MB | G_8, ML, M, M, M, M,
	/* c0 */ ML, ML, MB, M | G_MEM, MB, MB | G_REG, MB, M | G_9, 0, 0, 0, 0, 0, 0, 0, 0,
	/* d0 */ M, M, M, M, M, M, M, M | G_REG, M, M, M, M, M, M, M, M,
	/* e0 */ M, M, M, M, M, M, M, M | G_MEM, M, M, M, M, M, M, M, M,
	/* f0 */ M | G_MEM, M, M, M, M, M, M, M | G_REG, M, M, M, M, M, M, M, X,
};

/* Opcodes that exist without VEX: bit n of word w is opcode 32 w + n */
static const u32 map_0f38[8] = {
	0x70b10fff, 0xffbf0f3f, 0x00000003, 0x00000000,
	0x00000007, 0x00000000, 0xf900bf00, 0x1f630000,
};

static const u32 map_0f3a[8] = {
	0x00f0ff00, 0x00000007, 0x00000017, 0x0000000f,
	0x00000000, 0x00000000, 0x8000d000, 0x00010000,
};

/* Attributes of an opcode behind 0F 38 or 0F 3A. */
u16 emu_escape_attr(u8 map, u8 opcode)
{
	const u32 *exists = map == EMU_MAP_0F38 ? map_0f38 : map_0f3a;
	u16 attr = map == EMU_MAP_0F38 ? A_MODRM : A_MODRM | I_B;

	if (!(exists[opcode >> 5] >> (opcode & 31) & 1))
		return attr | A_UNDEF;
	if (map == EMU_MAP_0F38 && (opcode == 0xf0 || opcode == 0xf1))
		return attr | G_MOVBE;
	return attr;
}

/*
 * Members of groups, by ModRM.reg: which exist as memory and as register form, and which take
 * LOCK.  Rows are indexed by A_GROUP; what depends on more than ModRM.reg is in group_special().
 */
struct group {
	u8 mem;
	u8 reg;
	u8 lock;
};

#define ROW(g)	[(g) >> 11]

static const struct group groups[] = {
	ROW(0)		= { 0xff, 0xff, 0xff },
	ROW(G_ESCAPE)	= { 0xff, 0xff, 0x00 },
	ROW(G_CR)	= { 0xff, 0xff, 0x00 },
	ROW(G_3DNOW)	= { 0xff, 0xff, 0x00 },
	ROW(G_1)	= { 0xff, 0xff, 0x7f },
	ROW(G_3)	= { 0xff, 0xff, 0x0c },
	ROW(G_4)	= { 0x03, 0x03, 0x03 },
	ROW(G_5)	= { 0x7f, 0x57, 0x03 },
	ROW(G_6)	= { 0x3f, 0x3f, 0x00 },
	ROW(G_7)	= { 0xff, 0xff, 0x00 },
	ROW(G_8)	= { 0xf0, 0xf0, 0xe0 },
	ROW(G_9)	= { 0xfa, 0xc0, 0x02 },
	ROW(G_11)	= { 0x01, 0x81, 0x00 },
	ROW(G_12)	= { 0x00, 0x54, 0x00 },
	ROW(G_13)	= { 0x00, 0x54, 0x00 },
	ROW(G_14)	= { 0x00, 0xcc, 0x00 },
	ROW(G_15)	= { 0xff, 0xff, 0x00 },
	ROW(G_SREG)	= { 0x3f, 0x3f, 0x00 },
	ROW(G_MEM)	= { 0xff, 0x00, 0x00 },
	ROW(G_78)	= { 0xff, 0xff, 0x00 },
	ROW(G_B8)	= { 0xff, 0xff, 0x00 },
	ROW(G_MOVBE)	= { 0xff, 0xff, 0x00 },
	ROW(G_REG)	= { 0x00, 0xff, 0x00 },
};

/* Register forms of 0F 01 without a mandatory prefix, one bit per ModRM.rm */
static const u8 group7_reg[8] = {
	[0] = 0x3f,	/* ENCLV VMCALL VMLAUNCH VMRESUME VMXOFF PCONFIG */
	[1] = 0x8f,	/* MONITOR MWAIT CLAC STAC ENCLS */
	[2] = 0xf3,	/* XGETBV XSETBV VMFUNC XEND XTEST ENCLU */
	[3] = 0xff,	/* VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT INVLPGA */
	[4] = 0xff,	/* SMSW */
	[5] = 0xc0,	/* RDPKRU WRPKRU */
	[6] = 0xff,	/* LMSW */
	[7] = 0x3f,	/* SWAPGS RDTSCP MONITORX MWAITX CLZERO RDPRU */
};

static bool group7_undefined(const struct emu_insn *insn)
{
	u8 reg = insn->modrm >> 3 & 7;
	u8 rm = insn->modrm & 7;

	if (insn->modrm < 0xc0)
		return reg == 5 && !(insn->prefixes & EMU_PFX_REP);
	/*
	 * F3, F2 and 66 select other instructions (shadow stacks, SNP, WRMSRLIST, ...): not told
	 * apart here
	 */
	if (reg != 4 && reg != 6 && (insn->prefixes & (EMU_PFX_REP | EMU_PFX_REPNE)))
		return false;
	if (reg == 7 && rm == 0 && insn->mode != EMU_MODE_64)
		return true;
	return !(group7_reg[reg] >> rm & 1);
}

static bool group15_undefined(const struct emu_insn *insn)
{
	u8 reg = insn->modrm >> 3 & 7;

	if (insn->modrm < 0xc0)
		return false;
	if (insn->prefixes & EMU_PFX_REP)
		return reg < 4 ? insn->mode != EMU_MODE_64 : reg == 7 || reg == 4;
	if (insn->prefixes & (EMU_PFX_REPNE | EMU_PFX_OPSIZE))
		return reg != 6 && !(reg == 7 && !(insn->prefixes & EMU_PFX_REPNE));
	return reg < 5;
}

/* What of a group depends on more than ModRM.reg; the new attributes, without A_GROUP's own rows */
static u16 group_special(const struct emu_insn *insn, u16 attr)
{
	u8 reg = insn->modrm >> 3 & 7;
	bool mem = insn->modrm < 0xc0;

	switch (attr & A_GROUP) {
	case G_3:
		if (reg < 2)
			attr |= insn->opcode == 0xf6 ? I_B : I_Z;
		break;
	case G_7:
		if (group7_undefined(insn))
			attr |= A_UNDEF;
		break;
	case G_11:
		if (!mem && reg == 7 && (insn->modrm & 7))
			attr |= A_UNDEF;
		break;
	case G_15:
		if (group15_undefined(insn))
			attr |= A_UNDEF;
		break;
	case G_SREG:
		if (insn->opcode == 0x8e && reg == EMU_CS)
			attr |= A_UNDEF;
		break;
	case G_78:
		if (insn->prefixes & (EMU_PFX_OPSIZE | EMU_PFX_REPNE))
			attr |= mem ? A_UNDEF : I_BB;
		break;
	case G_B8:
		if (!(insn->prefixes & EMU_PFX_REP))
			attr |= A_UNDEF;
		break;
	case G_MOVBE:
		if (!mem && !(insn->prefixes & EMU_PFX_REPNE))
			attr |= A_UNDEF;
		break;
	case G_ESCAPE:
		if (insn->opcode == 0x8f ? reg != 0 : !mem)
			attr |= A_UNDEF;
		break;
	default:
		break;
	}
	return attr;
}

/**
 * emu_group_attr - attributes of the group member that ModRM selects
 * @insn: prefixes, opcode and ModRM are read
 * @attr: of the opcode
 *
 * Return: @attr with the immediate, A_UNDEF and A_LOCK of the member.
 */
u16 emu_group_attr(const struct emu_insn *insn, u16 attr)
{
	const struct group *g = &groups[(attr & A_GROUP) >> 11];
	u8 bit = (u8)(1 << (insn->modrm >> 3 & 7));

	if (!(attr & A_GROUP) || (insn->prefixes & (EMU_PFX_VEX | EMU_PFX_EVEX)))
		return attr;
	if (!((insn->modrm < 0xc0 ? g->mem : g->reg) & bit))
		attr |= A_UNDEF;
	if (g->lock & bit)
		attr |= A_LOCK;
	return group_special(insn, attr);
}

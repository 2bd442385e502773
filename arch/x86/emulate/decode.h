/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The decoder: from instruction bytes to struct emu_insn, and the lengths of instructions that
 * need no more than that.
 */
#ifndef STRATA_EMULATE_DECODE_H
#define STRATA_EMULATE_DECODE_H

#include <linux/types.h>

#define EMU_MAX_INSN	15

/**
 * enum emu_mode - how the code segment makes the CPU read instructions
 * @EMU_MODE_16: real mode, virtual-8086 mode, or a code segment with D = 0
 * @EMU_MODE_32: a code segment with D = 1, L = 0 or outside long mode
 * @EMU_MODE_64: 64-bit mode
 */
enum emu_mode { EMU_MODE_16, EMU_MODE_32, EMU_MODE_64 };

/*
 * Or-ed to the mode: near branches obey an operand-size prefix in 64-bit mode, as on AMD (Intel
 * ignores it).
 */
#define EMU_DECODE_AMD	0x10

/* struct emu_insn.map: opcode maps; the numbers are those of VEX.mmmmm and XOP.map_select */
enum emu_map {
	EMU_MAP_1BYTE,
	EMU_MAP_0F,
	EMU_MAP_0F38,
	EMU_MAP_0F3A,
	EMU_MAP_5 = 5,
	EMU_MAP_6,
	EMU_MAP_XOP8 = 8,
	EMU_MAP_XOP9,
	EMU_MAP_XOPA,
	EMU_MAP_3DNOW = 0x1f,
};

/* struct emu_insn.prefixes */
#define EMU_PFX_OPSIZE	0x01	/* 66 */
#define EMU_PFX_ASIZE	0x02	/* 67 */
#define EMU_PFX_LOCK	0x04	/* F0 */
#define EMU_PFX_REPNE	0x08	/* F2 came last of F2 and F3 */
#define EMU_PFX_REP	0x10	/* F3 came last of F2 and F3 */
#define EMU_PFX_VEX	0x20	/* VEX or XOP: @vvvv, @vlen and @pp are valid */
#define EMU_PFX_EVEX	0x40

#define EMU_REX_B	0x01
#define EMU_REX_X	0x02
#define EMU_REX_R	0x04
#define EMU_REX_W	0x08
#define EMU_REX		0x40	/* a REX prefix is there (byte registers are SPL..DIL) */

/* Segment registers by the number the CPU encodes them with */
enum emu_seg_nr {
	EMU_ES, EMU_CS, EMU_SS, EMU_DS, EMU_FS, EMU_GS, EMU_LDTR, EMU_TR,
	EMU_NR_SEGS,
};

#define EMU_SEG_NONE	0xff

/**
 * struct emu_insn - a decoded instruction
 * @len: bytes, 1..15
 * @mode: enum emu_mode
 * @map: enum emu_map
 * @opcode: last opcode byte (3DNow!: the suffix)
 * @prefixes: EMU_PFX_*
 * @rex: EMU_REX_*; filled from VEX, EVEX and XOP as well
 * @seg: segment override that counts in this mode, or EMU_SEG_NONE
 * @osize: operand size for non-byte forms: 2, 4 or 8
 * @asize: address size: 2, 4 or 8
 * @has_modrm: @modrm is there
 * @modrm: ModRM byte
 * @sib: SIB byte, if @modrm asks for one
 * @vvvv: VEX register, already un-inverted
 * @vlen: 0, 1, 2 for 128, 256, 512 bits
 * @pp: VEX mandatory prefix: 0, 1 (66), 2 (F3), 3 (F2)
 * @imm2: second immediate (ENTER's level, selector of a far pointer)
 * @disp: displacement of the memory operand
 * @imm: first immediate, sign-extended; branch displacement; absolute offset of MOV A0..A3
 */
struct emu_insn {
	u8 len;
	u8 mode;
	u8 map;
	u8 opcode;
	u8 prefixes;
	u8 rex;
	u8 seg;
	u8 osize;
	u8 asize;
	bool has_modrm;
	u8 modrm;
	u8 sib;
	u8 vvvv;
	u8 vlen;
	u8 pp;
	u16 imm2;
	s32 disp;
	s64 imm;
};

/* emu_decode(): the bytes are no instruction (#UD); @len says how many bytes show it */
#define EMU_UNDEFINED	1

/**
 * emu_decode - find out what an instruction is and how long
 * @insn: filled in; undefined content unless 0 or EMU_UNDEFINED is returned
 * @bytes: the instruction's bytes
 * @n: how many are there; more than 15 are not looked at
 * @mode: enum emu_mode, possibly | EMU_DECODE_AMD
 *
 * Lengths are right for all of the one-byte, 0F, 0F38, 0F3A, VEX, EVEX, XOP and 3DNow! maps.
 *
 * Return: 0; EMU_UNDEFINED; -ENODATA when more than @n bytes are needed; -EINVAL for an
 * instruction of more than 15 bytes (#GP(0)).
 */
int emu_decode(struct emu_insn *insn, const u8 *bytes, unsigned int n, unsigned int mode);

/* Opcodes for emu_skip_length(): length << 24 | bytes, first byte lowest */
#define EMU_SKIP_INT3		0x010000ccu
#define EMU_SKIP_INTO		0x010000ceu
#define EMU_SKIP_ICEBP		0x010000f1u
#define EMU_SKIP_HLT		0x010000f4u
#define EMU_SKIP_PAUSE		0x01000090u
#define EMU_SKIP_CLTS		0x0200060fu
#define EMU_SKIP_INVD		0x0200080fu
#define EMU_SKIP_WBINVD		0x0200090fu
#define EMU_SKIP_WRMSR		0x0200300fu
#define EMU_SKIP_RDTSC		0x0200310fu
#define EMU_SKIP_RDMSR		0x0200320fu
#define EMU_SKIP_RDPMC		0x0200330fu
#define EMU_SKIP_CPUID		0x0200a20fu
#define EMU_SKIP_RSM		0x0200aa0fu
#define EMU_SKIP_VMCALL		0x03c1010fu
#define EMU_SKIP_MONITOR	0x03c8010fu
#define EMU_SKIP_MWAIT		0x03c9010fu
#define EMU_SKIP_XGETBV		0x03d0010fu
#define EMU_SKIP_XSETBV		0x03d1010fu
#define EMU_SKIP_VMRUN		0x03d8010fu
#define EMU_SKIP_VMMCALL	0x03d9010fu
#define EMU_SKIP_VMLOAD		0x03da010fu
#define EMU_SKIP_VMSAVE		0x03db010fu
#define EMU_SKIP_STGI		0x03dc010fu
#define EMU_SKIP_CLGI		0x03dd010fu
#define EMU_SKIP_SKINIT		0x03de010fu
#define EMU_SKIP_INVLPGA	0x03df010fu
#define EMU_SKIP_RDTSCP		0x03f9010fu

int emu_skip_prefixed(const u8 *bytes, unsigned int n, unsigned int mode, u32 opcode);

/**
 * emu_skip_length - length of an instruction without operands that is known to be there
 * @bytes: what is at RIP; may be stale or wrong, as another CPU may write it
 * @n: how many bytes are there
 * @mode: enum emu_mode
 * @opcode: EMU_SKIP_*
 *
 * Without a prefix, which is nearly always, this is one load and one compare.
 *
 * Return: length with prefixes; -ENODATA when @n bytes do not show it; -EINVAL when something
 * else is there.
 */
static inline int emu_skip_length(const u8 *bytes, unsigned int n, unsigned int mode, u32 opcode)
{
	unsigned int len = opcode >> 24;
	u32 first;

	if (n >= 4) {
		first = bytes[0] | (u32)bytes[1] << 8 | (u32)bytes[2] << 16;
		if (!((first ^ opcode) & (0xffffffu >> (24 - 8 * len))))
			return (int)len;
	}
	return emu_skip_prefixed(bytes, n, mode, opcode);
}

#endif

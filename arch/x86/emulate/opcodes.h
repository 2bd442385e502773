/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What follows an opcode, one 16-bit word each: for the decoder only.
 */
#ifndef STRATA_EMULATE_OPCODES_H
#define STRATA_EMULATE_OPCODES_H

#include "decode.h"

#define A_MODRM		0x0001	/* a ModRM byte follows */
#define A_IMM		0x001e	/* kind of immediate */
#define I_B		0x0002	/* one byte */
#define I_Z		0x0004	/* 2 or 4 bytes by operand size */
#define I_V		0x0006	/* 2, 4 or 8 bytes by operand size */
#define I_W		0x0008	/* 2 bytes */
#define I_WB		0x000a	/* 2 bytes and one */
#define I_BB		0x000c	/* 1 byte and one */
#define I_FAR		0x000e	/* offset of 2 or 4 bytes and a selector */
#define I_MOFFS		0x0010	/* address-size offset */
#define I_D		0x0012	/* 4 bytes */
#define A_NO64		0x0020	/* undefined in 64-bit mode */
#define A_UNDEF		0x0040	/* undefined */
#define A_D64		0x0080	/* operand size defaults to 8 in 64-bit mode */
#define A_F64		0x0100	/* near branch: operand size is 8 in 64-bit mode */
#define A_PREFIX	0x0200	/* no opcode but a prefix */
#define A_LOCK		0x0400	/* takes LOCK with a memory destination */
#define A_GROUP		0xf800	/* one of: */
#define G_ESCAPE	0x0800	/* leads to another map, or may do so */
#define G_CR		0x1000	/* MOV of CR or DR: ModRM.mod is ignored */
#define G_3DNOW		0x1800	/* the immediate is the opcode */
#define G_1		0x2000	/* groups by their number in the manuals */
#define G_3		0x3000
#define G_4		0x3800
#define G_5		0x4000
#define G_6		0x4800
#define G_7		0x5000
#define G_8		0x5800
#define G_9		0x6000
#define G_11		0x6800
#define G_12		0x7000
#define G_13		0x7800
#define G_14		0x8000
#define G_15		0x8800
#define G_SREG		0x9000	/* MOV of a segment register */
#define G_MEM		0x9800	/* memory operand only */
#define G_78		0xa000	/* VMREAD, EXTRQ, INSERTQ */
#define G_B8		0xa800	/* POPCNT */
#define G_MOVBE		0xb000	/* MOVBE, CRC32 */
#define G_REG		0xb800	/* register operand only */

extern const u16 emu_opcodes_1byte[256];
extern const u16 emu_opcodes_0f[256];

u16 emu_escape_attr(u8 map, u8 opcode);
u16 emu_group_attr(const struct emu_insn *insn, u16 attr);

#endif

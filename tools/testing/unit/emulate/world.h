/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest for the table-driven cases: 64 KB of memory with descriptor tables, code, data and
 * stack, in one of several modes.
 */
#ifndef STRATA_UNIT_WORLD_H
#define STRATA_UNIT_WORLD_H

#include "machine.h"

#include <stddef.h>

#define IVT		0x0000u
#define GDT		0x1000u
#define LDT		0x1800u
#define TSS_A		0x2000u		/* the running task's, 32-bit */
#define TSS_B		0x2200u		/* 32-bit */
#define TSS_C		0x2400u		/* 16-bit */
#define CODE		0x4000u
#define DATA		0x6000u
#define STACK		0x8000u
#define READ_ONLY	0x20000u
#define LAST_PAGE	0xfffff000u	/* below 4 GB */

/* Selectors in the GDT */
enum {
	SEL_CODE	= 0x08,		/* flat, level 0 */
	SEL_DATA	= 0x10,
	SEL_CODE3	= 0x18,		/* level 3: use | 3 */
	SEL_DATA3	= 0x20,
	SEL_TSS_A	= 0x28,		/* busy, 16 bytes in long mode */
	SEL_CONFORMING	= 0x38,		/* code, level 0 */
	SEL_EXEC_ONLY	= 0x40,
	SEL_RO_DATA	= 0x48,
	SEL_ABSENT	= 0x50,		/* data, level 0 */
	SEL_LDT		= 0x58,		/* 16 bytes in long mode */
	SEL_TSS_B	= 0x68,
	SEL_TSS_C	= 0x70,
	SEL_TASK_GATE	= 0x78,		/* to TSS_B */
	SEL_CODE64	= 0x80,
	SEL_CODE64_3	= 0x88,
	SEL_SMALL	= 0x90,		/* code, limit 0xff */
	SEL_NOT_ACCESSED = 0x98,	/* data */
	SEL_ABSENT_CODE	= 0xa0,
	SEL_CALL_GATE	= 0xa8,
	GDT_LIMIT	= 0xaf,
};

enum world_mode { REAL, V86, PROT, PROT3, LONG, LONG3, COMPAT };

extern struct machine world;
extern u8 world_memory[0x10000];

void world_init(struct emu *e, enum world_mode mode);
void world_put(u64 addr, unsigned int len, u64 val);
u64 world_get(u64 addr, unsigned int len);

#endif

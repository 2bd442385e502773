// SPDX-License-Identifier: GPL-2.0
/*
 * The guest of world.h.
 */
#include "world.h"

#include <string.h>

struct machine world;
u8 world_memory[0x10000];
static u8 read_only[0x1000];
static u8 last_page[0x1000];

void world_put(u64 addr, unsigned int len, u64 val)
{
	memcpy(machine_at(&world, addr, len), &val, len);
}

u64 world_get(u64 addr, unsigned int len)
{
	u64 val = 0;

	memcpy(&val, machine_at(&world, addr, len), len);
	return val;
}

static u64 desc(u32 base, u32 limit, u8 access, u8 flags)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 |
	       (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}

static void init_gdt(void)
{
	world_put(GDT + SEL_CODE, 8, desc(0, 0xfffff, 0x9b, 0xc));
	world_put(GDT + SEL_DATA, 8, desc(0, 0xfffff, 0x93, 0xc));
	world_put(GDT + SEL_CODE3, 8, desc(0, 0xfffff, 0xfb, 0xc));
	world_put(GDT + SEL_DATA3, 8, desc(0, 0xfffff, 0xf3, 0xc));
	world_put(GDT + SEL_TSS_A, 8, desc(TSS_A, 0x1ff, 0x8b, 0));
	world_put(GDT + SEL_CONFORMING, 8, desc(0, 0xfffff, 0x9f, 0xc));
	world_put(GDT + SEL_EXEC_ONLY, 8, desc(0, 0xfffff, 0x99, 0xc));
	world_put(GDT + SEL_RO_DATA, 8, desc(0, 0xfffff, 0x91, 0xc));
	world_put(GDT + SEL_ABSENT, 8, desc(0, 0xfffff, 0x13, 0xc));
	world_put(GDT + SEL_LDT, 8, desc(LDT, 0x1f, 0x82, 0));
	world_put(GDT + SEL_TSS_B, 8, desc(TSS_B, 0x67, 0x89, 0));
	world_put(GDT + SEL_TSS_C, 8, desc(TSS_C, 0x2b, 0x81, 0));
	world_put(GDT + SEL_TASK_GATE, 8, (u64)SEL_TSS_B << 16 | 0x850000000000);
	world_put(GDT + SEL_CODE64, 8, desc(0, 0xfffff, 0x9b, 0xa));
	world_put(GDT + SEL_CODE64_3, 8, desc(0, 0xfffff, 0xfb, 0xa));
	world_put(GDT + SEL_SMALL, 8, desc(0, 0xff, 0x9b, 0x4));
	world_put(GDT + SEL_NOT_ACCESSED, 8, desc(0, 0xfffff, 0x92, 0xc));
	world_put(GDT + SEL_ABSENT_CODE, 8, desc(0, 0xfffff, 0x1b, 0xc));
	world_put(GDT + SEL_CALL_GATE, 8, 0x8c0000084000);
	/* LDT: 4 is data of level 0, 0xc of level 3 */
	world_put(LDT, 8, desc(0x100, 0xfff, 0x93, 4));
	world_put(LDT + 8, 8, desc(0x100, 0xfff, 0xf3, 4));
}

static void init_tss(void)
{
	static const u16 segs_b[6] = { SEL_DATA, SEL_CODE, SEL_DATA, SEL_DATA, 0, 0 };
	unsigned int i;

	/*
	 * I/O permission map of TSS_A: behind the 104 bytes; port 0x60 is allowed, 0x64 not, the
	 * rest not
	 */
	world_put(TSS_A + 102, 2, 0x68);
	memset(world_memory + TSS_A + 0x68, 0xff, 0x100);
	world_put(TSS_A + 0x68 + 0x60 / 8, 1, 0xf0);
	world_put(TSS_B + 28, 4, 0x9000);
	world_put(TSS_B + 32, 4, CODE + 0x100);
	world_put(TSS_B + 36, 4, 0x202);
	for (i = 0; i < 8; i++)
		world_put(TSS_B + 40 + 4 * i, 4, i == 4 ? STACK - 0x100 : 0xb0000000 + i);
	for (i = 0; i < 6; i++)
		world_put(TSS_B + 72 + 4 * i, 2, segs_b[i]);
	world_put(TSS_B + 96, 2, SEL_LDT);
	world_put(TSS_C + 14, 2, CODE + 0x100);
	world_put(TSS_C + 16, 2, 0x202);
	for (i = 0; i < 8; i++)
		world_put(TSS_C + 18 + 2 * i, 2, i == 4 ? STACK - 0x100 : 0xc000 + i);
	for (i = 0; i < 4; i++)
		world_put(TSS_C + 34 + 2 * i, 2, segs_b[i]);
}

static struct emu_seg flat(u16 sel, u8 type, u8 dpl)
{
	return (struct emu_seg){
		.selector = sel,
		.limit = 0xffffffff,
		.type = type,
		.s = 1,
		.dpl = dpl,
		.p = 1,
		.db = 1,
		.g = 1,
	};
}

static void real_segments(struct emu *e, bool v86)
{
	unsigned int i;

	for (i = 0; i < 6; i++)
		e->regs.seg[i] = (struct emu_seg){
			.limit = 0xffff, .type = 3, .s = 1, .p = 1, .dpl = v86 ? 3 : 0
		};
}

static void prot_segments(struct emu *e, u8 cpl)
{
	unsigned int i;

	for (i = 0; i < 6; i++)
		e->regs.seg[i] = flat(cpl ? SEL_DATA3 | 3 : SEL_DATA, 3, cpl);
	e->regs.seg[EMU_CS] = flat(cpl ? SEL_CODE3 | 3 : SEL_CODE, 11, cpl);
	e->regs.seg[EMU_FS] = e->regs.seg[EMU_GS] = (struct emu_seg){ .unusable = 1 };
}

/* The emulation and memory as every case finds them */
void world_init(struct emu *e, enum world_mode mode)
{
	unsigned int i;

	memset(&world, 0, sizeof(world));
	memset(world_memory, 0, sizeof(world_memory));
	machine_add(&world, 0, sizeof(world_memory), world_memory);
	machine_add(&world, READ_ONLY, sizeof(read_only), read_only);
	world.region[1].read_only = true;
	machine_add(&world, LAST_PAGE, sizeof(last_page), last_page);
	world.xcr0 = 7;
	world.port_in = 0x11223344;
	init_gdt();
	init_tss();
	memset(e, 0, sizeof(*e));
	e->features = 0xffff;
	e->cpl = mode == V86 || mode == PROT3 || mode == LONG3 ? 3 : 0;
	for (i = 0; i < 16; i++)
		e->regs.gpr[i] = 0x1000 + i;
	e->regs.gpr[4] = STACK;
	e->regs.rip = CODE;
	e->regs.rflags = 0x202 | (mode == V86 ? 0x20000 : 0);
	e->regs.cr0 = mode == REAL ? 0x10 : 0x80000011;
	e->regs.cr4 = 0x40220;
	e->regs.gdtr = (struct emu_table){ .base = GDT, .limit = GDT_LIMIT };
	e->regs.idtr = (struct emu_table){ .base = IVT, .limit = 0x3ff };
	if (mode == REAL || mode == V86)
		real_segments(e, mode == V86);
	else
		prot_segments(e, e->cpl);
	if (mode >= LONG) {
		e->regs.efer = 0xd01;
		e->regs.cr4 |= 0x20;
	}
	if (mode == LONG || mode == LONG3) {
		e->regs.seg[EMU_CS].l = 1;
		e->regs.seg[EMU_CS].db = 0;
		e->regs.seg[EMU_CS].selector = mode == LONG ? SEL_CODE64 : SEL_CODE64_3 | 3;
	}
	e->regs.seg[EMU_LDTR] = (struct emu_seg){
		.selector = SEL_LDT, .base = LDT, .limit = 0x1f, .type = 2, .p = 1,
	};
	e->regs.seg[EMU_TR] = (struct emu_seg){
		.selector = SEL_TSS_A, .base = TSS_A, .limit = 0x1ff, .type = 11, .p = 1,
	};
}

// SPDX-License-Identifier: GPL-2.0
/*
 * IOAPIC and MSI: register window, edge and level behaviour, Remote IRR, several sources on one
 * pin, messages, images; a random walk against a model of one pin.
 */
#include "irq_test.h"

#include "arch/x86/irq/ioapic.h"
#include "arch/x86/irq/msi.h"

#define LEVEL	0x8000
#define MASK	0x10000

static u32 write_reg(struct ioapic *io, unsigned int reg, u32 val)
{
	expect_eq(ioapic_write(io, 0, 4, reg), 0);
	return ioapic_write(io, 0x10, 4, val);
}

static u32 read_reg(struct ioapic *io, unsigned int reg)
{
	ioapic_write(io, 0, 4, reg);
	return ioapic_read(io, 0x10, 4);
}

static u32 set_entry(struct ioapic *io, unsigned int pin, u32 low)
{
	return write_reg(io, 0x10 + 2 * pin, low);
}

START_TEST(registers)
{
	struct ioapic io;
	unsigned int reg;

	ioapic_reset(&io);
	for (reg = 0; reg < 0x100; reg++) {
		u32 low = reg == 0x00 ? 0x0f000000 : 0;
		u32 old = read_reg(&io, reg);

		expect_eq(ioapic_read(&io, 0, 4), reg);
		write_reg(&io, reg, ~0u);
		if (reg == 1) {
			expect_eq(old, 0x170011);
			expect_eq(read_reg(&io, reg), 0x170011);
		} else if (reg == 2) {
			expect_eq(read_reg(&io, reg), 0x0f000000);
		} else if (reg >= 0x10 && reg < 0x40) {
			expect_eq(old, reg & 1 ? 0 : 0x10000);
			/* Delivery status and Remote IRR are not software's. */
			expect_eq(read_reg(&io, reg), reg & 1 ? 0xff000000 : 0x1afff);
		} else {
			expect_eq(read_reg(&io, reg), low);
		}
	}
}
END_TEST

START_TEST(window)
{
	struct ioapic io;

	ioapic_reset(&io);
	expect(ioapic_covers(&io, 0xfec00000) && ioapic_covers(&io, 0xfec000ff));
	expect(!ioapic_covers(&io, 0xfec00100) && !ioapic_covers(&io, 0xfebfffff));
	ioapic_write(&io, 0, 1, 0x101);
	expect_eq(ioapic_read(&io, 0, 1), 1);
	expect_eq(ioapic_read(&io, 0x10, 8), 0x170011);
	expect_eq(ioapic_read(&io, 0x10, 2), 0x0011);
	expect_eq(ioapic_read(&io, 0x10, 1), 0x11);
	expect_eq(ioapic_read(&io, 0x20, 4), 0);
	/* No EOI register in this version */
	set_entry(&io, 3, LEVEL | 0x40);
	ioapic_set_line(&io, 3, 0, true);
	io.entry[3] |= IOAPIC_ENTRY_REMOTE_IRR;
	expect_eq(ioapic_write(&io, 0x40, 4, 0x40), 0);
	expect(io.entry[3] & IOAPIC_ENTRY_REMOTE_IRR);
}
END_TEST

START_TEST(messages)
{
	static const struct {
		u64 entry;
		struct irq_msg want;
	} rows[] = {
		{ 0x0500000000000031, { .dest = 5, .vector = 0x31 } },
		{ 0x0300000000000831, { .dest = 3, .vector = 0x31, .logical = true } },
		{ 0xff00000000008931, { .dest = 0xff, .vector = 0x31, .mode = IRQ_MODE_LOWEST, .logical = true, .level = true } },
		{ 0x0000000000000400, { .mode = IRQ_MODE_NMI } },
		{ 0x0000000000000700, { .mode = IRQ_MODE_EXTINT } },
	};
	struct irq_msg m;
	struct ioapic io;
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ioapic_reset(&io);
		write_reg(&io, 0x11, rows[i].entry >> 32);
		write_reg(&io, 0x10, rows[i].entry);
		expect_eq(ioapic_set_line(&io, 0, 0, true), IOAPIC_SEND);
		expect(ioapic_service(&io, 0, &m));
		expect_msg(same_msg(&m, &rows[i].want), "row %u", i);
		expect(!ioapic_service(&io, 0, &m));
	}
}
END_TEST

START_TEST(edge)
{
	struct irq_msg m;
	struct ioapic io;
	u32 done;

	ioapic_reset(&io);
	expect_eq(ioapic_set_line(&io, 4, 0, true), IOAPIC_MASKED);
	expect_eq(ioapic_set_line(&io, 4, 0, false), IOAPIC_QUIET);
	/* An edge on a masked pin is lost, and a line that is up already makes none. */
	ioapic_set_line(&io, 4, 0, true);
	expect_eq(set_entry(&io, 4, 0x41), 0);
	expect_eq(ioapic_set_line(&io, 4, 0, true), IOAPIC_COALESCED);
	ioapic_set_line(&io, 4, 0, false);
	expect_eq(ioapic_set_line(&io, 4, 0, true), IOAPIC_SEND);
	expect(ioapic_service(&io, 4, &m));
	expect_eq(read_reg(&io, 0x18), 0x41);
	ioapic_set_line(&io, 4, 0, false);
	expect_eq(ioapic_set_line(&io, 4, 0, true), IOAPIC_SEND);
	expect(ioapic_service(&io, 4, &m));
	expect_eq(ioapic_eoi(&io, 0x41, &done), 0);
	expect_eq(done, 0);
}
END_TEST

START_TEST(level)
{
	struct irq_msg m;
	struct ioapic io;
	u32 done;

	ioapic_reset(&io);
	set_entry(&io, 9, LEVEL | 0x41);
	expect_eq(ioapic_set_line(&io, 9, 0, true), IOAPIC_SEND);
	expect(ioapic_service(&io, 9, &m) && m.level);
	expect_eq(read_reg(&io, 0x22), LEVEL | 0x4041);
	expect_eq(ioapic_set_line(&io, 9, 0, true), IOAPIC_COALESCED);
	expect_eq(ioapic_eoi(&io, 0x42, &done), 0);
	expect_eq(done, 0);
	expect_eq(ioapic_eoi(&io, 0x41, &done), 1 << 9);
	expect_eq(done, 1 << 9);
	expect(ioapic_service(&io, 9, &m));
	/* Masked, it is not sent again, but stays known. */
	set_entry(&io, 9, LEVEL | MASK | 0x41);
	expect_eq(ioapic_eoi(&io, 0x41, &done), 0);
	expect_eq(done, 1 << 9);
	expect_eq(set_entry(&io, 9, LEVEL | 0x41), 1 << 9);
	expect(ioapic_service(&io, 9, &m));
	expect_eq(ioapic_set_line(&io, 9, 0, false), IOAPIC_QUIET);
	expect_eq(ioapic_eoi(&io, 0x41, &done), 0);
	expect(!ioapic_service(&io, 9, &m));
}
END_TEST

/* What guests of version 0x11 do for an EOI by hand: to edge and back */
START_TEST(remote_irr_by_mode_switch)
{
	struct irq_msg m;
	struct ioapic io;

	ioapic_reset(&io);
	set_entry(&io, 9, LEVEL | 0x41);
	ioapic_set_line(&io, 9, 0, true);
	ioapic_service(&io, 9, &m);
	set_entry(&io, 9, MASK | 0x41);
	expect_eq(read_reg(&io, 0x22), MASK | 0x41);
	expect_eq(set_entry(&io, 9, LEVEL | 0x41), 1 << 9);
}
END_TEST

/* Nobody took it: without this the pin would wait for an EOI for ever. */
START_TEST(refused)
{
	struct irq_msg m;
	struct ioapic io;

	ioapic_reset(&io);
	set_entry(&io, 9, LEVEL | 0x41);
	ioapic_set_line(&io, 9, 0, true);
	expect(ioapic_service(&io, 9, &m));
	ioapic_refused(&io, 9);
	expect_eq(ioapic_set_line(&io, 9, 0, true), IOAPIC_SEND);
	expect(ioapic_service(&io, 9, &m));
}
END_TEST

START_TEST(several_sources)
{
	struct irq_msg m;
	struct ioapic io;
	u32 done;

	ioapic_reset(&io);
	set_entry(&io, 9, LEVEL | 0x41);
	expect_eq(ioapic_set_line(&io, 9, 0, true), IOAPIC_SEND);
	ioapic_service(&io, 9, &m);
	expect_eq(ioapic_set_line(&io, 9, 31, true), IOAPIC_COALESCED);
	expect_eq(ioapic_set_line(&io, 9, 0, false), IOAPIC_QUIET);
	expect_eq(ioapic_eoi(&io, 0x41, &done), 1 << 9);
	ioapic_service(&io, 9, &m);
	ioapic_set_line(&io, 9, 31, false);
	expect_eq(ioapic_eoi(&io, 0x41, &done), 0);
}
END_TEST

/* Two pins with one vector end together. */
START_TEST(shared_vector)
{
	struct irq_msg m;
	struct ioapic io;
	u64 map[4];
	u32 done;

	ioapic_reset(&io);
	set_entry(&io, 9, LEVEL | 0x81);
	set_entry(&io, 10, LEVEL | 0x81);
	set_entry(&io, 11, 0x82);
	ioapic_eoi_vectors(&io, map);
	expect(map[0] == 0 && map[1] == 0 && map[2] == 2 && map[3] == 0);
	ioapic_set_line(&io, 9, 0, true);
	ioapic_set_line(&io, 10, 0, true);
	ioapic_service(&io, 9, &m);
	ioapic_service(&io, 10, &m);
	ioapic_set_line(&io, 10, 0, false);
	expect_eq(ioapic_eoi(&io, 0x81, &done), 1 << 9);
	expect_eq(done, 3 << 9);
}
END_TEST

/* One pin under random lines of three sources, masks, modes, EOIs and moves to a fresh IOAPIC */
START_TEST(random_walk)
{
	u64 seed = 31 + _i;
	bool up[3] = { 0 }, level_mode = false, masked = true, in_service = false, moved = false;
	struct kvm_ioapic_state image, again;
	struct ioapic io;
	struct irq_msg m;
	u32 pins, done;
	int step;

	ioapic_reset(&io);
	for (step = 0; step < 20000; step++) {
		bool was = up[0] || up[1] || up[2], expect_msg_out = false, line;
		unsigned int source = rnd_below(&seed, 3);
		enum ioapic_result r;

		pins = 0;
		switch (rnd_below(&seed, 8)) {
		case 0 ... 3:
			/*
			 * After a move the image knows the line but not its sources: let them all
			 * speak first.
			 */
			if (moved)
				continue;
			up[source] = rnd_below(&seed, 2);
			r = ioapic_set_line(&io, 7, source, up[source]);
			line = up[0] || up[1] || up[2];
			expect_msg_out = !masked && up[source] && line && (level_mode ? !in_service : !was);
			expect_eq(r == IOAPIC_SEND, expect_msg_out);
			expect_eq(r == IOAPIC_MASKED, up[source] && masked);
			pins = r == IOAPIC_SEND ? 1 << 7 : 0;
			break;
		case 4:
			masked = rnd_below(&seed, 3) == 0;
			level_mode = rnd_below(&seed, 3) != 0;
			pins = set_entry(&io, 7, 0x55 | (masked ? MASK : 0) | (level_mode ? LEVEL : 0));
			in_service = in_service && level_mode;
			expect_msg_out = !masked && level_mode && was && !in_service;
			break;
		case 5 ... 6:
			pins = ioapic_eoi(&io, 0x55, &done);
			expect_eq(done, in_service ? 1 << 7 : 0);
			expect_msg_out = in_service && was && !masked;
			in_service = false;
			break;
		case 7:
			memset(&image, 0xa5, sizeof(image));
			ioapic_get_state(&io, &image);
			memset(&io, 0x5a, sizeof(io));
			/* QEMU does not fill it in. */
			image.pad = 0xffffffff;
			pins = ioapic_set_state(&io, &image);
			image.pad = 0;
			ioapic_get_state(&io, &again);
			ck_equal(image, again);
			moved = true;
			/* The line of an edge that was sent is not in it. */
			if (!level_mode)
				memset(up, 0, sizeof(up));
			break;
		}
		expect_eq(pins, expect_msg_out ? 1 << 7 : 0);
		expect_eq(ioapic_service(&io, 7, &m), expect_msg_out);
		in_service |= expect_msg_out && level_mode;
		expect_eq(!!(io.entry[7] & IOAPIC_ENTRY_REMOTE_IRR), in_service);
		if (moved && rnd_below(&seed, 2)) {
			/*
			 * Sources hold their lines still; level changes nothing, for an edge the
			 * line is up already.
			 */
			for (source = 0; source < 3; source++) {
				if (up[source])
					expect(ioapic_set_line(&io, 7, source, true) !=
					       IOAPIC_SEND);
			}
			moved = false;
		}
	}
}
END_TEST

/* Image of another implementation: irr alone, which for edge-triggered pins is an edge not sent. */
START_TEST(foreign_image)
{
	struct kvm_ioapic_state s = { .base_address = 0xfec00000, .irr = 1 << 3 | 1 << 4 | 1 << 5 | 1u << 31, .id = 2 };
	struct ioapic io;
	struct irq_msg m;
	unsigned int i;

	for (i = 0; i < IOAPIC_PINS; i++)
		s.redirtbl[i].bits = MASK;
	s.redirtbl[3].bits = LEVEL | 0x43;
	s.redirtbl[4].bits = 0x44;
	s.redirtbl[5].bits = LEVEL | IOAPIC_ENTRY_REMOTE_IRR | 0x45;
	expect_eq(ioapic_set_state(&io, &s), 1 << 3 | 1 << 4);
	expect_eq(read_reg(&io, 0), 0x02000000);
	expect(ioapic_service(&io, 4, &m) && m.vector == 0x44);
	expect(!ioapic_service(&io, 5, &m));
	/* The first source to speak decides. */
	ioapic_set_line(&io, 3, 7, false);
	expect(!ioapic_service(&io, 3, &m));
}
END_TEST

START_TEST(msi)
{
	static const struct {
		const char *name;
		u32 lo, hi, data;
		struct msi_api api;
		int ret;
		struct irq_msg want;
	} rows[] = {
		{ "physical", 0xfee05000, 0, 0x4031, { 0 }, 0, { .dest = 5, .vector = 0x31 } },
		{ "logical, lowest priority", 0xfee0300c, 0, 0x0141, { 0 }, 0,
		  { .dest = 3, .vector = 0x41, .mode = IRQ_MODE_LOWEST, .logical = true, .redirect = true } },
		{ "level, also without assert", 0xfee05000, 0, 0x8031, { 0 }, 0, { .dest = 5, .vector = 0x31, .level = true } },
		{ "NMI", 0xfee05000, 0, 0x0400, { 0 }, 0, { .dest = 5, .mode = IRQ_MODE_NMI } },
		{ "upper word ignored", 0xfee05000, 0xffffffff, 0x31, { 0 }, 0, { .dest = 5, .vector = 0x31 } },
		{ "upper word", 0xfee05000, 0x00000100, 0x31, { .ids32 = true }, 0, { .dest = 0x105, .vector = 0x31 } },
		{ "upper word, all bits", 0xfeefe000, 0xffffff00, 0x31, { .ids32 = true }, 0,
		  { .dest = 0xfffffffe, .vector = 0x31 } },
		{ "reserved bit 7", 0xfee05000, 0x00000180, 0x31, { .ids32 = true }, -EINVAL, { 0 } },
		{ "reserved bits", 0xfee05000, 0x00000101, 0x31, { .ids32 = true }, -EINVAL, { 0 } },
		{ "everybody", 0xfeeff000, 0, 0x31, { 0 }, 0, { .dest = 0xff, .vector = 0x31, .broadcast = true } },
		{ "255 without quirk", 0xfeeff000, 0, 0x31, { .no_quirk = true, .ids32 = true }, 0,
		  { .dest = 0xff, .vector = 0x31 } },
		{ "everybody, 32 bits", 0xfeeff000, 0xffffff00, 0x31, { .no_quirk = true, .ids32 = true }, 0,
		  { .dest = ~0u, .vector = 0x31, .broadcast = true } },
	};
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct irq_msg m = { 0 };

		expect_msg(msi_decode(rows[i].lo, rows[i].hi, rows[i].data, &rows[i].api, &m) ==
				   rows[i].ret,
			   "%s", rows[i].name);
		expect_msg(same_msg(&m, &rows[i].want), "%s: wrong message", rows[i].name);
	}
}
END_TEST

START_TEST(lowest_or_not)
{
	unsigned int mode, redirect;

	for (mode = 0; mode < 8; mode++) {
		for (redirect = 0; redirect < 2; redirect++) {
			const struct irq_msg m = { .mode = mode, .redirect = redirect };

			expect_eq(irq_msg_lowest(&m),
				  mode == IRQ_MODE_LOWEST || (mode == IRQ_MODE_FIXED && redirect));
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ioapic");
	TCase *loops = tcase_create("loops");

	add_case(s, "registers", registers);
	add_case(s, "window", window);
	add_case(s, "messages", messages);
	add_case(s, "edge", edge);
	add_case(s, "level", level);
	add_case(s, "Remote IRR by mode switch", remote_irr_by_mode_switch);
	add_case(s, "refused", refused);
	add_case(s, "several sources", several_sources);
	add_case(s, "shared vector", shared_vector);
	add_case(s, "foreign image", foreign_image);
	add_case(s, "MSI", msi);
	add_case(s, "lowest priority or not", lowest_or_not);
	tcase_set_timeout(loops, 120);
	tcase_add_loop_test(loops, random_walk, 0, 16);
	suite_add_tcase(s, loops);
	return run_suite(s);
}

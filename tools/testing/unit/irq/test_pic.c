// SPDX-License-Identifier: GPL-2.0
/*
 * The pair of 8259A: programming, all priorities against a second formulation, rotation, automatic
 * EOI, special mask and special fully nested mode, polling, spurious interrupts, the cascade, ELCR,
 * images; a random walk that counts interrupts.
 */
#include "irq_test.h"

#include "arch/x86/irq/pic.h"

static u16 ended;

static void out(struct pic *p, u16 port, u8 val)
{
	pic_write(p, port, val, &ended);
}

static u8 in(struct pic *p, u16 port)
{
	return pic_read(p, port, &ended);
}

static u8 ack(struct pic *p)
{
	return pic_ack(p, &ended);
}

/* As a PC's firmware does it: vectors 0x20 and 0x28 */
static void program(struct pic *p, u8 icw4_master, u8 icw4_slave)
{
	static const u8 icws[2][3] = { { 0x11, 0x20, 0x04 }, { 0x11, 0x28, 0x02 } };
	unsigned int i;

	pic_reset(p);
	for (i = 0; i < 2; i++) {
		u16 port = i ? PIC_PORT_SLAVE : PIC_PORT_MASTER;

		out(p, port, icws[i][0]);
		out(p, port + 1, icws[i][1]);
		out(p, port + 1, icws[i][2]);
		out(p, port + 1, i ? icw4_slave : icw4_master);
	}
}

static void pulse(struct pic *p, unsigned int pin)
{
	pic_set_line(p, pin, 0, true);
	pic_set_line(p, pin, 0, false);
}

/*
 * Data sheet: from the top of the rotation down, a level in service shuts out itself and all below
 * it.
 */
static int reference(const struct kvm_pic_state *s, bool master)
{
	unsigned int i;

	for (i = 0; i < 8; i++) {
		unsigned int n = (s->priority_add + i) % 8;
		bool request = (s->irr >> n) % 2 && !((s->imr >> n) % 2);
		bool service = (s->isr >> n) % 2 && !(s->special_mask && (s->imr >> n) % 2);
		bool again = master && n == 2 && s->special_fully_nested_mode;

		if (request && (!service || again))
			return n;
		if (service)
			return -1;
	}
	return -1;
}

START_TEST(all_priorities)
{
	static const u8 masks[] = { 0, 0xff, 0x55, 0x04, 0xf0 };
	unsigned int irr, isr, top, flags, i;
	struct pic p;

	program(&p, 1, 1);
	for (i = 0; i < sizeof(masks); i++) {
		for (flags = 0; flags < 4; flags++) {
			for (top = 0; top < 8; top++) {
				for (irr = 0; irr < 256; irr++) {
					for (isr = 0; isr < 256; isr++) {
						const struct kvm_pic_state s = {
							.irr = irr, .isr = isr, .imr = masks[i], .priority_add = top,
							.special_mask = flags & 1, .special_fully_nested_mode = flags >> 1,
							.irq_base = 0x20,
						};
						int want = reference(&s, true);

						pic_set_state(&p, 0, &s);
						expect_msg(p.output == (want >= 0),
							   "irr %x isr %x imr %x top %u", irr, isr,
							   masks[i], top);
						if (want >= 0 && want != 2)
							expect_eq(ack(&p), 0x20 + want);
					}
				}
			}
		}
	}
}
END_TEST

START_TEST(programming)
{
	struct pic p;

	program(&p, 0x13, 0x01);
	expect(p.chip[0].irq_base == 0x20 && p.chip[0].auto_eoi &&
	       p.chip[0].special_fully_nested_mode);
	expect(p.chip[1].irq_base == 0x28 && !p.chip[1].auto_eoi &&
	       !p.chip[1].special_fully_nested_mode);
	out(&p, 0x21, 0xab);
	expect_eq(in(&p, 0x21), 0xab);
	out(&p, 0x20, 0x68);
	expect(p.chip[0].special_mask);
	/* ICW1 without ICW4: three bytes, and the modes of ICW4 are off. */
	out(&p, 0x20, 0x10);
	expect_eq(p.chip[0].imr | p.chip[0].special_mask | p.chip[0].auto_eoi, 0);
	out(&p, 0x21, 0x77);
	out(&p, 0x21, 0x04);
	out(&p, 0x21, 0x0f);
	expect_eq(p.chip[0].irq_base, 0x70);
	expect_eq(in(&p, 0x21), 0x0f);
	/* OCW3 chooses what the even port reads. */
	pulse(&p, 7);
	pulse(&p, 4);
	out(&p, 0x21, 0);
	expect_eq(ack(&p), 0x74);
	out(&p, 0x20, 0x0b);
	expect_eq(in(&p, 0x20), 0x10);
	out(&p, 0x20, 0x0a);
	expect_eq(in(&p, 0x20), 0x80);
}
END_TEST

START_TEST(edges_and_initialisation)
{
	struct pic p;

	program(&p, 1, 1);
	expect_eq(pic_set_line(&p, 3, 0, true), PIC_REQUESTED);
	expect_eq(pic_set_line(&p, 3, 0, true), PIC_COALESCED);
	pic_set_line(&p, 3, 1, true);
	pic_set_line(&p, 3, 0, false);
	expect_eq(ack(&p), 0x23);
	out(&p, 0x20, 0x20);
	expect_eq(ended, 1 << 3);
	expect(!p.output);
	/*
	 * ICW1 resets the edge detectors: a line that is up must fall first. No INT before the last
	 * ICW.
	 */
	pulse(&p, 1);
	expect_eq(ack(&p), 0x21);
	pulse(&p, 5);
	out(&p, 0x20, 0x11);
	expect_eq(ended, 1 << 1);
	expect(!p.output && !p.chip[0].irr);
	pulse(&p, 6);
	expect(!p.output);
	out(&p, 0x21, 0x20);
	out(&p, 0x21, 0x04);
	expect(!p.output);
	out(&p, 0x21, 0x01);
	expect(p.output);
	expect_eq(ack(&p), 0x26);
	expect_eq(pic_set_line(&p, 3, 2, true), PIC_COALESCED);
	expect(!p.output);
	out(&p, 0x21, 0x80);
	expect_eq(pic_set_line(&p, 7, 0, true), PIC_MASKED);
}
END_TEST

START_TEST(level_and_elcr)
{
	struct pic p;

	program(&p, 1, 1);
	out(&p, 0x4d0, 0xff);
	out(&p, 0x4d1, 0xff);
	expect_eq(in(&p, 0x4d0), 0xf8);
	expect_eq(in(&p, 0x4d1), 0xde);
	pic_set_line(&p, 11, 0, true);
	pic_set_line(&p, 11, 1, true);
	expect_eq(ack(&p), 0x2b);
	expect(!p.output);
	out(&p, 0xa0, 0x20);
	expect_eq(ended, 1 << 11);
	out(&p, 0x20, 0x20);
	expect(p.output);
	pic_set_line(&p, 11, 0, false);
	expect(p.output);
	pic_set_line(&p, 11, 1, false);
	/* The slave's INT was an edge for the master, which finds nobody there: spurious IRQ15. */
	expect(p.output);
	expect_eq(ack(&p), 0x2f);
	expect_eq(p.chip[1].isr, 0);
	expect_eq(p.chip[0].isr, 1 << 2);
	/* A pin whose line is up becomes level-triggered: it requests. */
	out(&p, 0x20, 0x20);
	out(&p, 0x4d0, 0);
	pic_set_line(&p, 5, 0, true);
	expect_eq(ack(&p), 0x25);
	out(&p, 0x20, 0x20);
	expect(!p.output);
	out(&p, 0x4d0, 0x20);
	expect(p.output);
}
END_TEST

START_TEST(spurious)
{
	struct pic p;

	program(&p, 1, 1);
	expect_eq(ack(&p), 0x27);
	expect_eq(p.chip[0].isr, 0);
	out(&p, 0x4d0, 0x20);
	pic_set_line(&p, 5, 0, true);
	pic_set_line(&p, 5, 0, false);
	expect(!p.output);
	expect_eq(ack(&p), 0x27);
	expect_eq(p.chip[0].isr, 0);
}
END_TEST

START_TEST(cascade)
{
	struct pic p;

	program(&p, 1, 1);
	pulse(&p, 12);
	pulse(&p, 3);
	expect_eq(ack(&p), 0x2c);
	expect_eq(p.chip[0].isr, 1 << 2);
	/* Fully nested: a higher input of the slave waits for the master's EOI. */
	pulse(&p, 8);
	expect(!p.output);
	out(&p, 0x20, 0x20);
	expect_eq(ack(&p), 0x28);
	out(&p, 0xa0, 0x20);
	expect_eq(ended, 1 << 8);
	out(&p, 0x20, 0x20);
	expect_eq(ack(&p), 0x23);
	out(&p, 0x20, 0x63);
	expect_eq(ended, 1 << 3);
	out(&p, 0xa0, 0x64);
	expect_eq(ended, 1 << 12);
}
END_TEST

/* Special fully nested mode: the slave interrupts again, the master's lower inputs do not. */
START_TEST(special_fully_nested)
{
	struct pic p;

	program(&p, 0x11, 1);
	pulse(&p, 12);
	expect_eq(ack(&p), 0x2c);
	pulse(&p, 3);
	expect(!p.output);
	pulse(&p, 8);
	expect_eq(ack(&p), 0x28);
	expect(!p.output);
	pulse(&p, 1);
	expect_eq(ack(&p), 0x21);
}
END_TEST

/* Both chips with automatic EOI: each request of the slave is a new edge for the master. */
START_TEST(automatic_eoi)
{
	struct pic p;

	program(&p, 3, 3);
	pulse(&p, 12);
	pulse(&p, 9);
	expect_eq(ack(&p), 0x29);
	expect_eq(ended, 1 << 9 | 1 << 2);
	expect(p.output);
	expect_eq(ack(&p), 0x2c);
	expect_eq(p.chip[0].isr | p.chip[1].isr, 0);
	expect(!p.output);
	out(&p, 0x20, 0x80);
	pulse(&p, 4);
	expect_eq(ack(&p), 0x24);
	expect_eq(p.chip[0].priority_add, 5);
	out(&p, 0x20, 0x00);
	pulse(&p, 6);
	expect_eq(ack(&p), 0x26);
	expect_eq(p.chip[0].priority_add, 5);
}
END_TEST

START_TEST(rotation)
{
	struct pic p;
	unsigned int i;

	program(&p, 1, 1);
	/* Round robin: with all requesting, each gets its turn. */
	for (i = 0; i < 16; i++) {
		unsigned int want = i % 7 < 2 ? i % 7 : i % 7 + 1;

		pulse(&p, 0), pulse(&p, 1), pulse(&p, 3), pulse(&p, 4), pulse(&p, 5), pulse(&p, 6),
			pulse(&p, 7);
		expect_eq(ack(&p), 0x20 + want);
		out(&p, 0x20, 0xa0);
		expect_eq(p.chip[0].priority_add, (want + 1) % 8);
	}
	/* Set priority: 4 is the lowest, so 5 comes first. */
	out(&p, 0x20, 0xc4);
	expect_eq(ack(&p), 0x25);
	out(&p, 0x20, 0xe5);
	expect_eq(p.chip[0].priority_add, 6);
	expect_eq(ended, 1 << 5);
	expect_eq(ack(&p), 0x26);
	out(&p, 0x20, 0x40);
	expect_eq(ended, 0);
	expect_eq(p.chip[0].isr, 1 << 6);
}
END_TEST

START_TEST(special_mask)
{
	struct pic p;

	program(&p, 1, 1);
	pulse(&p, 1);
	expect_eq(ack(&p), 0x21);
	pulse(&p, 6);
	expect(!p.output);
	out(&p, 0x21, 1 << 1);
	expect(!p.output);
	out(&p, 0x20, 0x68);
	expect_eq(ack(&p), 0x26);
	/* A non-specific EOI does not see the level that is masked. */
	out(&p, 0x20, 0x20);
	expect_eq(p.chip[0].isr, 1 << 1);
	out(&p, 0x20, 0x48);
	out(&p, 0x20, 0x20);
	expect_eq(p.chip[0].isr, 0);
}
END_TEST

START_TEST(polling)
{
	struct pic p;

	program(&p, 1, 1);
	out(&p, 0x20, 0x0c);
	expect_eq(in(&p, 0x20), 0);
	pulse(&p, 10);
	out(&p, 0x20, 0x0c);
	expect_eq(in(&p, 0x20), 0x82);
	out(&p, 0xa0, 0x0c);
	expect_eq(in(&p, 0xa1), 0x82);
	expect_eq(p.chip[0].isr, 1 << 2);
	expect_eq(p.chip[1].isr, 1 << 2);
	expect_eq(in(&p, 0xa1), 0);
	expect(!p.output);
	/*
	 * Polling takes the slave's INT down: what it requests next is a new edge for the master.
	 */
	out(&p, 0x20, 0x20);
	out(&p, 0xa0, 0x20);
	pulse(&p, 12);
	out(&p, 0x20, 0x0c);
	expect_eq(in(&p, 0x20), 0x82);
	pulse(&p, 9);
	out(&p, 0xa0, 0x0c);
	expect_eq(in(&p, 0xa0), 0x81);
	out(&p, 0x20, 0x20);
	expect(!p.output);
	out(&p, 0xa0, 0x61);
	expect_eq(ack(&p), 0x2c);

	program(&p, 1, 3);
	pulse(&p, 12);
	pulse(&p, 9);
	out(&p, 0x20, 0x0c);
	expect_eq(in(&p, 0x20), 0x82);
	out(&p, 0x20, 0x20);
	out(&p, 0xa0, 0x0c);
	expect_eq(in(&p, 0xa0), 0x81);
	expect_eq(ack(&p), 0x2c);
}
END_TEST

/*
 * Edges on random pins, served by a guest that acknowledges and ends at random moments; meanwhile,
 * both chips move to a fresh pair, in either order. Each edge that found no request is one
 * interrupt, none is spurious.
 */
START_TEST(random_walk)
{
	unsigned int requested[16] = { 0 }, served[16] = { 0 }, i;
	u64 seed = 5150 + _i;
	struct pic p;
	int step;

	program(&p, _i & 1 ? 3 : 1, _i & 2 ? 3 : 1);
	for (step = 0; step < 20000; step++) {
		unsigned int pin = rnd_below(&seed, 16);

		switch (rnd_below(&seed, 8)) {
		case 0 ... 2:
			if (pin == PIC_CASCADE)
				break;
			requested[pin] += pic_set_line(&p, pin, 0, true) == PIC_REQUESTED;
			if (rnd_below(&seed, 2))
				pic_set_line(&p, pin, 0, false);
			break;
		case 3 ... 4:
			if (p.output)
				served[ack(&p) - 0x20]++;
			break;
		case 5:
			if (p.chip[1].isr && rnd_below(&seed, 2))
				out(&p, 0xa0, 0x20);
			else
				out(&p, 0x20, 0x20);
			break;
		case 6: {
			struct kvm_pic_state s[2], again[2];
			u32 sources[16];
			bool output = p.output;

			memcpy(sources, p.sources, sizeof(sources));
			for (i = 0; i < 2; i++)
				pic_get_state(&p, i, &s[i]);
			pic_reset(&p);
			for (i = 0; i < 2; i++) {
				unsigned int chip = i ^ (step & 1);

				expect_eq(pic_set_state(&p, chip, &s[chip]), 0);
			}
			for (i = 0; i < 2; i++)
				pic_get_state(&p, i, &again[i]);
			ck_equal(s, again);
			expect_eq(p.output, output);
			for (i = 0; i < 16; i++) {
				if (sources[i])
					pic_set_line(&p, i, 0, true);
			}
			break;
		}
		case 7:
			pic_set_line(&p, pin == PIC_CASCADE ? 0 : pin, 0, false);
			break;
		}
	}
	for (step = 0; step < 100; step++) {
		if (p.output)
			served[ack(&p) - 0x20]++;
		out(&p, 0xa0, 0x20);
		out(&p, 0x20, 0x20);
	}
	for (i = 0; i < 16; i++)
		expect_msg(requested[i] == served[i], "pin %u: %u requested, %u served", i,
			   requested[i], served[i]);
}
END_TEST

START_TEST(impossible_images)
{
	struct kvm_pic_state s = { .priority_add = 8 };
	struct pic p;

	program(&p, 1, 1);
	expect_eq(pic_set_state(&p, 0, &s), -EINVAL);
	s = (struct kvm_pic_state){ .init_state = 4 };
	expect_eq(pic_set_state(&p, 1, &s), -EINVAL);
	expect_eq(p.chip[0].irq_base, 0x20);
	s = (struct kvm_pic_state){ .elcr = 0xff, .elcr_mask = 0xff };
	expect_eq(pic_set_state(&p, 0, &s), 0);
	expect_eq(p.chip[0].elcr, 0xf8);
	expect_eq(p.chip[0].elcr_mask, 0xf8);
}
END_TEST

START_TEST(ports)
{
	unsigned int port;

	for (port = 0; port < 0x10000; port++) {
		bool want = port == 0x20 || port == 0x21 || port == 0xa0 || port == 0xa1 ||
			    port == 0x4d0 || port == 0x4d1;

		expect_eq(pic_covers(port), want);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pic");
	TCase *loops = tcase_create("loops");

	add_case(s, "all priorities", all_priorities);
	add_case(s, "programming", programming);
	add_case(s, "edges and initialisation", edges_and_initialisation);
	add_case(s, "level and ELCR", level_and_elcr);
	add_case(s, "spurious", spurious);
	add_case(s, "cascade", cascade);
	add_case(s, "special fully nested", special_fully_nested);
	add_case(s, "automatic EOI", automatic_eoi);
	add_case(s, "rotation", rotation);
	add_case(s, "special mask", special_mask);
	add_case(s, "polling", polling);
	add_case(s, "impossible images", impossible_images);
	add_case(s, "ports", ports);
	tcase_set_timeout(loops, 120);
	tcase_add_loop_test(loops, random_walk, 0, 16);
	suite_add_tcase(s, loops);
	return run_suite(s);
}

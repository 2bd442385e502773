// SPDX-License-Identifier: GPL-2.0
/*
 * The interval timer: every mode against a counter stepped tick by tick, BCD, latches, read-back,
 * access modes, gate and speaker, interrupts and their reinjection, images.
 */
#include "irq_test.h"

#include "arch/x86/irq/pit.h"

/* First nanosecond after t ticks of 1193182 Hz */
static u64 at(u64 t)
{
	return (t * 1000000000ull + PIT_HZ - 1) / PIT_HZ;
}

static void control(struct pit *p, unsigned int channel, unsigned int mode, bool bcd, u64 now)
{
	pit_write(p, 0x43, channel << 6 | 3 << 4 | mode << 1 | bcd, now);
}

static void count(struct pit *p, unsigned int channel, u16 val, u64 now)
{
	pit_write(p, 0x40 + channel, val, now);
	pit_write(p, 0x40 + channel, val >> 8, now);
}

static u16 read_count(struct pit *p, unsigned int channel, u64 now)
{
	u16 val;

	pit_write(p, 0x43, channel << 6, now);
	val = pit_read(p, 0x40 + channel, now);
	return val | pit_read(p, 0x40 + channel, now) << 8;
}

/* The data sheet's counter, one CLK at a time; n is the count, t the CLKs since it was loaded. */
struct stepped {
	unsigned int mode, n, wrap, ce, half;
	bool out;
};

static void load(struct stepped *s, unsigned int mode, unsigned int n, unsigned int wrap)
{
	*s = (struct stepped){ .mode = mode, .n = n, .wrap = wrap, .ce = n, .out = mode >= 2 };
	s->half = (n + 1) / 2;
	if (mode == 2 && n == 1)
		s->out = false;
}

static void clk(struct stepped *s)
{
	switch (s->mode) {
	case 0:
	case 1:
		s->ce = s->ce ? s->ce - 1 : s->wrap - 1;
		s->out |= !s->ce;
		break;
	case 2:
		s->ce = s->ce == 1 ? s->n : s->ce - 1;
		s->out = s->ce != 1;
		break;
	case 3:
		/* High for (n + 1) / 2, low for n / 2 */
		if (--s->half == 0) {
			s->out = !s->out || s->n < 2;
			s->half = s->out ? (s->n + 1) / 2 : s->n / 2;
		}
		break;
	case 4:
	case 5:
		s->out = s->ce != 1;
		s->ce = s->ce ? s->ce - 1 : s->wrap - 1;
		break;
	}
}

/*
 * OUT of every mode, and the count of all but mode 3; the strobe modes only until the counter
 * wraps.
 */
START_TEST(modes)
{
	static const unsigned int counts[] = { 1, 2, 3, 4, 5, 10, 17, 100, 9999 };
	unsigned int mode, i, bcd, t;
	struct stepped s;
	struct pit p;

	for (mode = 0; mode < 6; mode++) {
		for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
			for (bcd = 0; bcd < 2; bcd++) {
				unsigned int n = counts[i], wrap = bcd ? 10000 : 0x10000;
				unsigned int raw = bcd ? strtoul((char[8]){ '0' + n / 1000, '0' + n / 100 % 10,
					'0' + n / 10 % 10, '0' + n % 10 }, NULL, 16) : n;

				pit_reset(&p, 0);
				pit_speaker_write(&p, mode == 1 || mode == 5 ? 0 : 1, 0);
				control(&p, 2, mode, bcd, 0);
				expect_eq(pit_out(&p, 2, 0), mode != 0);
				count(&p, 2, raw, 0);
				pit_speaker_write(&p, 1, 0);
				load(&s, mode, n, wrap);
				for (t = 0; t < 2 * n + 20 && t < wrap; t++) {
					u16 want = bcd ? s.ce % 10 | s.ce / 10 % 10 << 4 | s.ce / 100 % 10 << 8 |
						s.ce / 1000 << 12 : s.ce;

					expect_msg(pit_out(&p, 2, at(t)) == s.out,
						   "OUT, mode %u, count %u, tick %u", mode, n, t);
					if (mode != 3)
						expect_msg(
							read_count(&p, 2, at(t)) == want,
							"mode %u, count %u, tick %u: %#x, not %#x",
							mode, n, t, read_count(&p, 2, at(t)), want);
					clk(&s);
				}
			}
		}
	}
}
END_TEST

/* Mode 3 counts down by twos, even values only, twice a period. */
START_TEST(square_wave_count)
{
	struct pit p;
	unsigned int t;

	pit_reset(&p, 0);
	control(&p, 0, 3, false, 0);
	count(&p, 0, 10, 0);
	for (t = 0; t < 40; t++)
		expect_eq(read_count(&p, 0, at(t)), 10 - 2 * (t % 5));
}
END_TEST

START_TEST(access_modes)
{
	struct pit p;

	pit_reset(&p, 0);
	pit_write(&p, 0x43, 0x10, 0);
	pit_write(&p, 0x40, 0x34, 0);
	expect_eq(p.ch[0].s.count, 0x34);
	expect_eq(pit_read(&p, 0x40, 0), 0x34);
	pit_write(&p, 0x43, 0x20, 0);
	pit_write(&p, 0x40, 0x12, 0);
	expect_eq(p.ch[0].s.count, 0x1200);
	expect_eq(pit_read(&p, 0x40, 0), 0x12);
	pit_write(&p, 0x43, 0x30, 0);
	pit_write(&p, 0x40, 0x78, 0);
	expect(p.ch[0].null);
	pit_write(&p, 0x40, 0x56, 0);
	expect_eq(p.ch[0].s.count, 0x5678);
	expect_eq(pit_read(&p, 0x40, 0), 0x78);
	expect_eq(pit_read(&p, 0x40, 0), 0x56);
	count(&p, 0, 0, 0);
	expect_eq(p.ch[0].s.count, 0x10000);
	/* Modes 6 and 7 are 2 and 3; the control port cannot be read. */
	control(&p, 1, 6, false, 0);
	expect_eq(p.ch[1].s.mode, 2);
	control(&p, 1, 7, false, 0);
	expect_eq(p.ch[1].s.mode, 3);
	expect_eq(pit_read(&p, 0x43, 0), 0);
}
END_TEST

START_TEST(latches)
{
	struct pit p;

	pit_reset(&p, 0);
	control(&p, 0, 2, false, 0);
	count(&p, 0, 1000, 0);
	/* A latched count stays until it is read, whatever is latched after it. */
	pit_write(&p, 0x43, 0x00, at(100));
	pit_write(&p, 0x43, 0x00, at(200));
	expect_eq(pit_read(&p, 0x40, at(300)), 900 & 0xff);
	expect_eq(pit_read(&p, 0x40, at(300)), 900 >> 8);
	expect_eq(pit_read(&p, 0x40, at(300)), 700 & 0xff);
	expect_eq(pit_read(&p, 0x40, at(300)), 700 >> 8);
	/* Read-back of status and count: status first. */
	pit_write(&p, 0x43, 0xc2, at(400));
	expect_eq(pit_read(&p, 0x40, at(500)), 0x80 | 3 << 4 | 2 << 1);
	expect_eq(pit_read(&p, 0x40, at(500)), 600 & 0xff);
	expect_eq(pit_read(&p, 0x40, at(500)), 600 >> 8);
	/* Null count, OUT and BCD in the status of two channels at once */
	control(&p, 1, 0, true, at(600));
	pit_write(&p, 0x43, 0xe6, at(600));
	expect_eq(pit_read(&p, 0x41, at(600)), 0x40 | 3 << 4 | 1);
	expect_eq(pit_read(&p, 0x40, at(600)), 0x80 | 3 << 4 | 2 << 1);
	count(&p, 1, 0x10, at(600));
	pit_write(&p, 0x43, 0xe4, at(600) + at(11));
	expect_eq(pit_read(&p, 0x41, at(700)), 0x80 | 3 << 4 | 1);
	/* A control word drops latches. */
	pit_write(&p, 0x43, 0xc2, at(800));
	control(&p, 0, 2, false, at(800));
	count(&p, 0, 50, at(800));
	expect_eq(pit_read(&p, 0x40, at(800)), 50);
}
END_TEST

START_TEST(gate)
{
	struct pit p;

	pit_reset(&p, 0);
	control(&p, 2, 0, false, 0);
	count(&p, 2, 100, 0);
	expect_eq(read_count(&p, 2, at(500)), 100);
	pit_speaker_write(&p, 1, at(500));
	expect_eq(read_count(&p, 2, at(540) + 1000), 59);
	pit_speaker_write(&p, 0, at(550));
	expect_eq(read_count(&p, 2, at(5000)), 50);
	expect_eq(pit_speaker_read(&p, 0) & 0x2f, 0x00);
	pit_speaker_write(&p, 3, at(5000));
	expect(!pit_out(&p, 2, at(5048)));
	expect(pit_out(&p, 2, at(5052)));
	expect_eq(pit_speaker_read(&p, at(5052)) & 0x2f, 0x23);
	/* A rising gate restarts modes 2 and 3, and OUT is high meanwhile. */
	control(&p, 2, 3, false, at(6000));
	count(&p, 2, 100, at(6000));
	expect(!pit_out(&p, 2, at(6060)));
	pit_speaker_write(&p, 0, at(6060));
	expect(pit_out(&p, 2, at(6060)));
	pit_speaker_write(&p, 1, at(6070));
	expect(pit_out(&p, 2, at(6115)));
	expect(!pit_out(&p, 2, at(6125)));
	/* A trigger starts mode 1 anew. */
	control(&p, 2, 1, false, at(7000));
	count(&p, 2, 100, at(7000));
	expect(pit_out(&p, 2, at(7000)));
	pit_speaker_write(&p, 0, at(7000));
	pit_speaker_write(&p, 1, at(7001));
	pit_speaker_write(&p, 0, at(7050));
	expect(!pit_out(&p, 2, at(7099)));
	pit_speaker_write(&p, 1, at(7099));
	expect(!pit_out(&p, 2, at(7190)));
	expect(pit_out(&p, 2, at(7205)));
	/* Between control word and count the gate starts nothing. */
	control(&p, 2, 3, false, at(8000));
	pit_speaker_write(&p, 0, at(8000));
	pit_speaker_write(&p, 1, at(8000));
	expect(!p.ch[2].counting && pit_out(&p, 2, at(8000 + 40000)));
	/* Memory refresh toggles. */
	expect((pit_speaker_read(&p, 1 << 14) ^ pit_speaker_read(&p, 0)) & 0x10);
}
END_TEST

/*
 * Interrupts are the rising edges of OUT: counted there, tick by tick, and here, at random moments.
 */
START_TEST(interrupts)
{
	static const unsigned int counts[] = { 1, 2, 3, 10, 101 };
	u64 seed = 8254, when;
	unsigned int mode, i;
	struct pit p;

	for (mode = 0; mode < 6; mode++) {
		for (i = 0; i < 5; i++) {
			unsigned int t, next = 0, want = 0;
			struct stepped s;
			bool last;

			/*
			 * Counts of 1 are illegal in modes 2 and 3: not a single edge on the pin.
			 */
			if (counts[i] == 1 && (mode == 2 || mode == 3))
				continue;
			pit_reset(&p, 0);
			control(&p, 0, mode, false, 0);
			expect(!pit_next(&p, &when));
			count(&p, 0, counts[i], 0);
			load(&s, mode, counts[i], 0x10000);
			last = s.out;
			for (t = 0; t < 500; t++) {
				want += s.out && !last;
				last = s.out;
				clk(&s);
				if (t < next)
					continue;
				pit_fire(&p, at(t));
				/* No trigger ever comes on channel 0. */
				if (mode == 1 || mode == 5)
					want = 0;
				expect_msg(p.missed == want,
					   "mode %u, count %u, tick %u: %u, not %u", mode,
					   counts[i], t, p.missed, want);
				expect(!pit_next(&p, &when) || when > at(t));
				next = t + rnd_below(&seed, 30);
			}
			expect_eq(pit_next(&p, &when), mode == 2 || mode == 3);
		}
	}
}
END_TEST

START_TEST(due_times)
{
	struct pit p;
	u64 when;

	pit_reset(&p, 0);
	expect(!pit_next(&p, &when));
	control(&p, 0, 2, false, 77);
	count(&p, 0, 11932, 77);
	expect(pit_next(&p, &when));
	expect_eq(when, 77 + at(11932));
	expect(!pit_fire(&p, when - 1));
	expect(pit_fire(&p, when));
	expect(pit_next(&p, &when));
	expect_eq(when, 77 + at(2 * 11932));
	/* A second's worth of ticks and years of uptime do not overflow. */
	expect(pit_fire(&p, 1ull << 58));
	expect(pit_next(&p, &when));
	expect(when > 1ull << 58 && when <= (1ull << 58) + at(11932));
	/* The control word stops it; in mode 0 the first byte of a count does. */
	control(&p, 0, 0, false, when);
	expect(!pit_next(&p, &when));
	count(&p, 0, 10, when);
	expect(pit_next(&p, &when));
	pit_write(&p, 0x40, 5, when);
	expect(!pit_next(&p, &when));
	p.hpet = true;
	pit_write(&p, 0x40, 0, when);
	expect(!pit_next(&p, &when));
	expect(!pit_fire(&p, when + at(1000)));
}
END_TEST

START_TEST(reinjection)
{
	struct pit p;

	pit_reset(&p, 0);
	control(&p, 0, 2, false, 0);
	count(&p, 0, 100, 0);
	expect(pit_fire(&p, at(350)));
	expect_eq(p.missed, 3);
	expect(pit_inject(&p));
	expect(!pit_inject(&p));
	expect(pit_acked(&p));
	expect(pit_inject(&p));
	expect(pit_acked(&p));
	expect(pit_inject(&p));
	expect(!pit_acked(&p));
	expect(!pit_inject(&p));
	expect(pit_fire(&p, at(400)));
	expect(pit_inject(&p));
	/* Without reinjection nothing waits for an acknowledgement, and late ticks are one. */
	pit_set_reinject(&p, false);
	expect(!pit_inject(&p));
	expect(pit_fire(&p, at(800)));
	expect_eq(p.missed, 1);
	expect(pit_inject(&p));
	expect(!pit_inject(&p));
	expect(pit_fire(&p, at(900)));
	expect(pit_inject(&p));
	p.reinject = true;
	p.missed = ~0u - 1;
	pit_fire(&p, at(2000));
	expect_eq(p.missed, ~0u);
}
END_TEST

static u32 random_access(struct pit *p, unsigned int what, u32 val, u64 now)
{
	switch (what) {
	case 0:
		pit_write(p, 0x43, val, now);
		return 0;
	case 1:
	case 2:
		/* Mostly short counts, so that much happens */
		pit_write(p, 0x40 + val % 3, val >> 8 & (val & 0x10000 ? 0xff : 0x1), now);
		return 0;
	case 3:
		return pit_read(p, 0x40 + val % 4, now);
	case 4:
		pit_speaker_write(p, val & 3, now);
		return 0;
	case 5:
		return pit_speaker_read(p, now) & 0x2f;
	case 6:
		return pit_inject(p);
	case 7:
		return pit_acked(p);
	}
	return pit_fire(p, now) + p->missed;
}

/*
 * Two timers live the same life; one moves again and again to a fresh one, whose host's clock reads
 * something else.
 */
START_TEST(restored_lives_on)
{
	u64 seed = 1000 + _i, now = 1ull << 40, shift = 0;
	struct pit p[2];
	int step;

	pit_reset(&p[0], now);
	p[1] = p[0];
	for (step = 0; step < 20000; step++) {
		unsigned int what = rnd_below(&seed, 9);
		u32 val = rnd(&seed), seen[2];
		u64 when[2];
		bool next;

		now += rnd_below(&seed, 200000);
		seen[0] = random_access(&p[0], what, val, now);
		seen[1] = random_access(&p[1], what, val, now + shift);
		expect_msg(seen[0] == seen[1], "step %d: access %u gives %#x, not %#x", step, what,
			   seen[1], seen[0]);
		next = pit_next(&p[0], &when[0]);
		expect_eq(pit_next(&p[1], &when[1]), next);
		if (next)
			expect_eq(when[1] - shift, when[0]);
		if (!rnd_below(&seed, 8)) {
			struct kvm_pit_state2 image = { .reserved = { [8] = 1 } }, again;
			struct pit copy = p[1];
			u64 to = rnd_below(&seed, 1u << 30);

			pit_get_state(&p[1], now + shift, &image);
			pit_get_state(&p[1], now + shift, &again);
			ck_equal(image, again);
			ck_equal(copy, p[1]);
			shift = to;
			pit_reset(&p[1], 0);
			expect_eq(pit_set_state(&p[1], &image, now + shift), 0);
			pit_fire(&p[0], now);
		}
	}
}
END_TEST

START_TEST(foreign_images)
{
	struct kvm_pit_state2 s = { .flags = KVM_PIT_FLAGS_SPEAKER_DATA_ON };
	struct pit p;
	u64 when;
	int i;

	for (i = 0; i < 3; i++)
		s.channels[i] = (struct kvm_pit_channel_state){ .count = 1000, .mode = 2, .rw_mode = 3, .gate = 1 };
	s.channels[0].count_load_time = at(10000);
	pit_reset(&p, 0);
	p.missed = 7;
	p.unacked = true;
	expect_eq(pit_set_state(&p, &s, at(12500)), 0);
	expect(!p.unacked);
	expect(p.speaker && pit_next(&p, &when));
	expect_eq(when, at(10000) + at(3000));
	expect_eq(p.missed, 0);
	/* A time in the future is of another host: counting starts now. */
	expect_eq(pit_set_state(&p, &s, at(5000)), 0);
	expect(pit_next(&p, &when));
	expect_eq(when, at(5000) + at(1000));
	/* A one-shot count that has run out may not have interrupted. */
	s.channels[0].mode = 0;
	expect_eq(pit_set_state(&p, &s, at(20000)), 0);
	expect(pit_fire(&p, at(20000)));
	expect(!pit_fire(&p, at(30000)));
}
END_TEST

START_TEST(impossible_images)
{
	struct kvm_pit_state2 good, s;
	struct pit p, before;

	pit_reset(&p, 0);
	pit_get_state(&p, 0, &good);
	before = p;
#define REJECT(change)							\
	do {								\
		s = good;						\
		s.change;						\
		expect_eq(pit_set_state(&p, &s, 0), -EINVAL);		\
		ck_equal(before, p);					\
	} while (0)
	REJECT(channels[0].count = 0x10001);
	REJECT(channels[1].mode = 8);
	REJECT(channels[2].rw_mode = 4);
	REJECT(channels[0].read_state = 5);
	REJECT(channels[0].write_state = 5);
	REJECT(channels[0].count_latched = 5);
	REJECT(channels[0].bcd = 2);
	REJECT(flags = 4);
	good.flags = KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	expect_eq(pit_set_state(&p, &good, 0), 0);
	expect(p.hpet && p.speaker);
	pit_get_state(&p, 0, &s);
	expect_eq(s.flags, 3);
}
END_TEST

START_TEST(after_reset)
{
	struct pit p;
	u64 when;
	int i;

	pit_reset(&p, 0);
	expect(p.reinject && !pit_next(&p, &when) && !pit_fire(&p, 1ull << 40));
	for (i = 0; i < 3; i++) {
		expect(p.ch[i].s.mode == 3 && p.ch[i].s.count == 0x10000);
		expect_eq(p.ch[i].s.gate, i != 2);
	}
}
END_TEST

/* Any image that is accepted can be lived with. */
START_TEST(random_images)
{
	u64 seed = 4242 + _i, now = 1ull << 40;
	struct kvm_pit_state2 s;
	struct pit p;
	int i;

	for (i = 0; i < (int)sizeof(s); i++)
		((u8 *)&s)[i] = rnd(&seed);
	s.flags &= 3;
	for (i = 0; i < 3; i++) {
		struct kvm_pit_channel_state *c = &s.channels[i];

		c->count %= 0x10001;
		c->mode %= 8;
		c->rw_mode %= 4;
		c->read_state %= 5;
		c->write_state %= 5;
		c->count_latched %= 5;
		c->bcd %= 2;
	}
	pit_reset(&p, now);
	expect_eq(pit_set_state(&p, &s, now), 0);
	for (i = 0; i < 1000; i++) {
		now += rnd_below(&seed, 100000);
		random_access(&p, rnd_below(&seed, 9), rnd(&seed), now);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pit");
	TCase *loops = tcase_create("loops");

	add_case(s, "modes", modes);
	add_case(s, "square wave count", square_wave_count);
	add_case(s, "access modes", access_modes);
	add_case(s, "latches", latches);
	add_case(s, "gate", gate);
	add_case(s, "interrupts", interrupts);
	add_case(s, "due times", due_times);
	add_case(s, "reinjection", reinjection);
	add_case(s, "foreign images", foreign_images);
	add_case(s, "impossible images", impossible_images);
	add_case(s, "after reset", after_reset);
	tcase_set_timeout(loops, 120);
	tcase_add_loop_test(loops, restored_lives_on, 0, 16);
	tcase_add_loop_test(loops, random_images, 0, 200);
	suite_add_tcase(s, loops);
	return run_suite(s);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * The interval timer: channels and ports.
 */
#include "pit.h"

#include <linux/bits.h>
#include <linux/string.h>

/* Access modes of the control word, also what read_state, write_state and count_latched hold */
enum { RW_LATCH, RW_LSB, RW_MSB, RW_WORD, RW_WORD_MSB };

#define STATUS_OUT	BIT(7)
#define STATUS_NULL	BIT(6)
#define READBACK_STATUS	BIT(4)	/* active low */
#define READBACK_COUNT	BIT(5)	/* active low */
#define SPEAKER_GATE	BIT(0)
#define SPEAKER_DATA	BIT(1)

#define NS_PER_SEC	1000000000ull

static u64 ns_to_ticks(u64 ns)
{
	return ns / NS_PER_SEC * PIT_HZ + ns % NS_PER_SEC * PIT_HZ / NS_PER_SEC;
}

/* The first nanosecond at which that many ticks have passed */
static u64 ticks_to_ns(u64 ticks)
{
	return ticks / PIT_HZ * NS_PER_SEC + (ticks % PIT_HZ * NS_PER_SEC + PIT_HZ - 1) / PIT_HZ;
}

u64 pit_elapsed(const struct pit_channel *c, u64 now)
{
	return c->counting ? now - c->s.count_load_time : (u64)c->s.count_load_time;
}

static u64 elapsed_ticks(const struct pit_channel *c, u64 now)
{
	return ns_to_ticks(pit_elapsed(c, now));
}

/* Number of ticks in the programmed count: 1..65536 binary, 1..10000 in BCD */
static u32 period(const struct pit_channel *c)
{
	u32 n = c->s.count;

	if (!c->s.bcd)
		return n;
	return (n >> 16) * 10000 + ((n >> 12) & 0xf) * 1000 + ((n >> 8) & 0xf) * 100 +
	       ((n >> 4) & 0xf) * 10 + (n & 0xf);
}

static bool is_periodic(const struct pit_channel *c)
{
	return c->s.mode == 2 || c->s.mode == 3;
}

/* Modes that start at a rising edge of the gate, not when the count is written */
static bool is_triggered(const struct pit_channel *c)
{
	return c->s.mode == 1 || c->s.mode == 5;
}

static bool channel_out(const struct pit_channel *c, u64 now)
{
	u64 ticks = elapsed_ticks(c, now);
	u32 n = period(c);

	if (c->null)
		return c->s.mode != 0;

	switch (c->s.mode) {
	case 0:
		return ticks >= n;
	case 1:
		return !c->counting || ticks >= n;
	case 2:
		return !c->counting || ticks % n != n - 1;
	case 3:
		return !c->counting || ticks % n < (n + 1) / 2;
	default:
		return !c->counting || ticks != n;
	}
}

bool pit_out(const struct pit *p, unsigned int channel, u64 now)
{
	return channel_out(&p->ch[channel], now);
}

static u16 to_bcd(u32 n)
{
	return n % 10 | n / 10 % 10 << 4 | n / 100 % 10 << 8 | n / 1000 % 10 << 12;
}

/*
 * The counting element. Mode 3 counts down by twos, twice a period; one-shot modes go on below
 * zero.
 */
static u16 current_count(const struct pit_channel *c, u64 now)
{
	u64 ticks = elapsed_ticks(c, now);
	u32 n = period(c), wrap = c->s.bcd ? 10000 : 0x10000;
	u32 count;

	if (c->s.mode == 2)
		count = n - ticks % n;
	else if (c->s.mode == 3)
		count = (n & ~1u) - ticks * 2 % (n < 2 ? 2 : n & ~1u);
	else
		count = (n + wrap - ticks % wrap) % wrap;
	return c->s.bcd ? to_bcd(count) : count;
}

u64 pit_edge_after(const struct pit *p, u64 ticks)
{
	const struct pit_channel *c = &p->ch[0];
	u32 n = period(c);

	if (c->null || !c->counting)
		return 0;
	if (is_periodic(c))
		return ticks < n ? n : (ticks + n - 1) / n * n;
	/* In the strobe modes OUT rises one tick after the count has run out. */
	if (c->s.mode >= 4)
		n++;
	return ticks <= n ? n : 0;
}

static void load_count(struct pit *p, unsigned int channel, u32 val, u64 now)
{
	struct pit_channel *c = &p->ch[channel];

	c->s.count = val ? val : 0x10000;
	c->null = false;
	if (!is_triggered(c)) {
		c->counting = c->s.gate;
		c->s.count_load_time = c->counting ? now : 0;
	}
	if (channel == 0)
		p->edge = pit_edge_after(p, 0);
}

static void latch_count(struct pit_channel *c, u64 now)
{
	if (c->s.count_latched)
		return;
	c->s.latched_count = current_count(c, now);
	c->s.count_latched = c->s.rw_mode;
}

static void latch_status(struct pit_channel *c, u64 now)
{
	if (c->s.status_latched)
		return;
	c->s.status = c->s.rw_mode << 4 | c->s.mode << 1 | c->s.bcd;
	if (channel_out(c, now))
		c->s.status |= STATUS_OUT;
	if (c->null)
		c->s.status |= STATUS_NULL;
	c->s.status_latched = 1;
}

static void write_readback(struct pit *p, u8 val, u64 now)
{
	unsigned int i;

	for (i = 0; i < PIT_CHANNELS; i++) {
		if (!(val & 2 << i))
			continue;
		if (!(val & READBACK_COUNT))
			latch_count(&p->ch[i], now);
		if (!(val & READBACK_STATUS))
			latch_status(&p->ch[i], now);
	}
}

static void write_control(struct pit *p, u8 val, u64 now)
{
	unsigned int channel = val >> 6, access = (val >> 4) & 3, mode = (val >> 1) & 7;
	struct pit_channel *c = &p->ch[channel];

	if (channel == 3) {
		write_readback(p, val, now);
		return;
	}
	if (access == RW_LATCH) {
		latch_count(c, now);
		return;
	}
	c->s.rw_mode = access;
	c->s.read_state = access;
	c->s.write_state = access;
	c->s.count_latched = 0;
	c->s.status_latched = 0;
	c->s.mode = mode > 5 ? mode - 4 : mode;
	c->s.bcd = val & 1;
	/* The counter stops until a count is written. */
	c->s.count_load_time = 0;
	c->counting = false;
	c->null = true;
	if (channel == 0)
		p->edge = 0;
}

static void write_count(struct pit *p, unsigned int channel, u8 val, u64 now)
{
	struct pit_channel *c = &p->ch[channel];

	switch (c->s.write_state) {
	case RW_LSB:
		load_count(p, channel, val, now);
		break;
	case RW_MSB:
		load_count(p, channel, val << 8, now);
		break;
	case RW_WORD:
		c->s.write_latch = val;
		c->s.write_state = RW_WORD_MSB;
		/* In mode 0 the first byte stops the count. */
		if (c->s.mode == 0) {
			c->s.count_load_time = 0;
			c->counting = false;
			if (channel == 0)
				p->edge = 0;
		}
		break;
	case RW_WORD_MSB:
		c->s.write_state = RW_WORD;
		load_count(p, channel, c->s.write_latch | val << 8, now);
		break;
	}
}

void pit_write(struct pit *p, u16 port, u8 val, u64 now)
{
	pit_fire(p, now);
	if ((port & 3) == 3)
		write_control(p, val, now);
	else
		write_count(p, port & 3, val, now);
}

static u8 read_latched(struct pit_channel *c)
{
	u8 state = c->s.count_latched;

	c->s.count_latched = state == RW_WORD ? RW_MSB : 0;
	return state == RW_MSB ? c->s.latched_count >> 8 : c->s.latched_count;
}

static u8 read_live(struct pit_channel *c, u64 now)
{
	u16 count = current_count(c, now);

	switch (c->s.read_state) {
	case RW_MSB:
		return count >> 8;
	case RW_WORD:
		c->s.read_state = RW_WORD_MSB;
		return count;
	case RW_WORD_MSB:
		c->s.read_state = RW_WORD;
		return count >> 8;
	}
	return count;
}

u8 pit_read(struct pit *p, u16 port, u64 now)
{
	struct pit_channel *c = &p->ch[port & 3];

	if ((port & 3) == 3)
		return 0;
	pit_fire(p, now);
	if (c->s.status_latched) {
		c->s.status_latched = 0;
		return c->s.status;
	}
	return c->s.count_latched ? read_latched(c) : read_live(c, now);
}

/*
 * The gate of channel 2: level in modes 0 and 4, both level and trigger in 2 and 3, trigger in 1
 * and 5
 */
static void set_gate(struct pit_channel *c, bool level, u64 now)
{
	bool changed = c->s.gate != level;
	u64 elapsed = pit_elapsed(c, now);

	c->s.gate = level;
	if (c->null || !changed || (is_triggered(c) && !level))
		return;
	if (is_triggered(c) || is_periodic(c))
		elapsed = 0;
	c->counting = level;
	c->s.count_load_time = level ? now - elapsed : elapsed;
}

u8 pit_speaker_read(const struct pit *p, u64 now)
{
	u8 val = p->ch[2].s.gate ? SPEAKER_GATE : 0;

	if (p->speaker)
		val |= SPEAKER_DATA;
	/* Memory refresh toggles about every 15 us; BIOSes measure delays with it. */
	val |= (now >> 14 & 1) << 4;
	return val | channel_out(&p->ch[2], now) << 5;
}

void pit_speaker_write(struct pit *p, u8 val, u64 now)
{
	p->speaker = val & SPEAKER_DATA;
	set_gate(&p->ch[2], val & SPEAKER_GATE, now);
}

bool pit_next(const struct pit *p, u64 *when)
{
	if (!p->edge || p->hpet)
		return false;
	*when = p->ch[0].s.count_load_time + ticks_to_ns(p->edge);
	return true;
}

bool pit_fire(struct pit *p, u64 now)
{
	const struct pit_channel *c = &p->ch[0];
	u64 ticks = elapsed_ticks(c, now), n = 1;

	if (!p->edge || ticks < p->edge)
		return false;
	if (is_periodic(c))
		n = (ticks - p->edge) / period(c) + 1;
	p->edge = is_periodic(c) ? p->edge + n * period(c) : 0;
	if (p->hpet)
		return false;
	if (!p->reinject)
		p->missed = 1;
	else
		p->missed = n < ~0u - p->missed ? p->missed + n : ~0u;
	return true;
}

bool pit_inject(struct pit *p)
{
	if (!p->missed || (p->reinject && p->unacked))
		return false;
	p->missed--;
	p->unacked = p->reinject;
	return true;
}

bool pit_acked(struct pit *p)
{
	p->unacked = false;
	return p->missed;
}

void pit_set_reinject(struct pit *p, bool on)
{
	p->reinject = on;
	p->unacked = false;
	p->missed = 0;
}

void pit_reset(struct pit *p, u64 now)
{
	unsigned int i;

	memset(p, 0, sizeof(*p));
	p->reinject = true;
	for (i = 0; i < PIT_CHANNELS; i++) {
		p->ch[i].s.mode = 3;
		p->ch[i].s.gate = i != 2;
		load_count(p, i, 0, now);
	}
	p->edge = 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * The IOAPIC.
 */
#include "ioapic.h"

#include <linux/bits.h>
#include <linux/nospec.h>
#include <linux/string.h>

/* Offsets in the window, and register indices behind IOREGSEL */
#define WINDOW_SELECT	0x00
#define WINDOW_DATA	0x10
#define REG_ID		0x00
#define REG_VERSION	0x01
#define REG_ARBITRATION	0x02
#define REG_ENTRIES	0x10

#define VERSION		(0x11 | (IOAPIC_PINS - 1) << 16)
#define ID_BITS		0x0f000000

#define ENTRY_READONLY	(IOAPIC_ENTRY_STATUS | IOAPIC_ENTRY_REMOTE_IRR)
#define ENTRY_BITS	(0xff00000000000000ull | 0x1ffff)

static u32 pins_to_service(const struct ioapic *io)
{
	unsigned int pin;
	u32 pins = 0;

	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		if (ioapic_wants_service(io, pin))
			pins |= BIT(pin);
	}
	return pins;
}

void ioapic_reset(struct ioapic *io)
{
	unsigned int pin;

	memset(io, 0, sizeof(*io));
	io->base = IOAPIC_BASE_DEFAULT;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		io->entry[pin] = IOAPIC_ENTRY_MASKED;
}

void ioapic_refused(struct ioapic *io, unsigned int pin)
{
	io->entry[pin] &= ~IOAPIC_ENTRY_REMOTE_IRR;
}

u32 ioapic_eoi(struct ioapic *io, u8 vector, u32 *done)
{
	unsigned int pin;
	u32 pins = 0;

	*done = 0;
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!(io->entry[pin] & IOAPIC_ENTRY_REMOTE_IRR) ||
		    (io->entry[pin] & 0xff) != vector)
			continue;
		io->entry[pin] &= ~IOAPIC_ENTRY_REMOTE_IRR;
		*done |= BIT(pin);
		if (ioapic_wants_service(io, pin))
			pins |= BIT(pin);
	}
	return pins;
}

static u32 read_reg(const struct ioapic *io)
{
	unsigned int pin = (io->select - REG_ENTRIES) / 2;

	switch (io->select) {
	case REG_ID:
	case REG_ARBITRATION:
		return io->id;
	case REG_VERSION:
		return VERSION;
	}
	if (io->select < REG_ENTRIES || pin >= IOAPIC_PINS)
		return 0;
	pin = array_index_nospec(pin, IOAPIC_PINS);
	return io->select & 1 ? io->entry[pin] >> 32 : io->entry[pin];
}

u64 ioapic_read(const struct ioapic *io, unsigned int offset, unsigned int len)
{
	u32 val = 0;

	if (offset == WINDOW_SELECT)
		val = io->select;
	else if (offset == WINDOW_DATA)
		val = read_reg(io);
	return len < 4 ? val & ((1u << len * 8) - 1) : val;
}

/* Edges that came while the pin was level-triggered or masked are not sent later. */
static u32 write_entry(struct ioapic *io, unsigned int pin, u64 val)
{
	u64 *e = &io->entry[pin];

	*e = (val & ENTRY_BITS & ~ENTRY_READONLY) | (*e & ENTRY_READONLY);
	if (!(*e & IOAPIC_ENTRY_LEVEL))
		*e &= ~IOAPIC_ENTRY_REMOTE_IRR;
	if (*e & (IOAPIC_ENTRY_LEVEL | IOAPIC_ENTRY_MASKED))
		io->edges &= ~BIT(pin);
	return ioapic_wants_service(io, pin) ? BIT(pin) : 0;
}

static u32 write_reg(struct ioapic *io, u32 val)
{
	unsigned int pin = (io->select - REG_ENTRIES) / 2;

	if (io->select == REG_ID)
		io->id = val & ID_BITS;
	if (io->select < REG_ENTRIES || pin >= IOAPIC_PINS)
		return 0;
	pin = array_index_nospec(pin, IOAPIC_PINS);
	if (io->select & 1)
		return write_entry(io, pin, (u64)val << 32 | (u32)io->entry[pin]);
	return write_entry(io, pin, (io->entry[pin] & ~0xffffffffull) | val);
}

u32 ioapic_write(struct ioapic *io, unsigned int offset, unsigned int len, u32 val)
{
	if (offset == WINDOW_SELECT)
		io->select = val & 0xff;
	else if (offset == WINDOW_DATA && len >= 4)
		return write_reg(io, val);
	return 0;
}

void ioapic_eoi_vectors(const struct ioapic *io, u64 map[4])
{
	unsigned int pin;

	memset(map, 0, 4 * sizeof(map[0]));
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		u8 vector = io->entry[pin];

		if (ioapic_is_level(io, pin))
			map[vector / 64] |= BIT_ULL(vector % 64);
	}
}

void ioapic_get_state(const struct ioapic *io, struct kvm_ioapic_state *s)
{
	unsigned int pin;

	memset(s, 0, sizeof(*s));
	s->base_address = io->base;
	s->ioregsel = io->select;
	s->id = io->id >> 24;
	s->irr = io->edges;
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		s->redirtbl[pin].bits = io->entry[pin];
		if (ioapic_is_level(io, pin))
			s->irr |= io->lines & BIT(pin);
	}
}

u32 ioapic_set_state(struct ioapic *io, const struct kvm_ioapic_state *s)
{
	unsigned int pin;

	memset(io, 0, sizeof(*io));
	io->base = s->base_address;
	io->select = s->ioregsel & 0xff;
	io->id = (s->id << 24) & ID_BITS;
	/* Not @pad: QEMU leaves there what was on its stack. */
	io->lines = s->irr & GENMASK(IOAPIC_PINS - 1, 0);
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		io->entry[pin] = s->redirtbl[pin].bits & ENTRY_BITS & ~IOAPIC_ENTRY_STATUS;
		if (!ioapic_is_level(io, pin)) {
			io->entry[pin] &= ~IOAPIC_ENTRY_REMOTE_IRR;
			if (!ioapic_is_masked(io, pin))
				io->edges |= s->irr & BIT(pin);
		}
	}
	return pins_to_service(io);
}

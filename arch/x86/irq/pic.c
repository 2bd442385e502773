// SPDX-License-Identifier: GPL-2.0
/*
 * The pair of 8259A interrupt controllers.
 */
#include "pic.h"

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/string.h>

#define ICW1		BIT(4)
#define ICW1_ICW4	BIT(0)
#define ICW4_AEOI	BIT(1)
#define ICW4_SFNM	BIT(4)
#define OCW3		BIT(3)
#define OCW3_POLL	BIT(2)
#define POLL_REQUEST	BIT(7)

/* What the chip expects next at its odd port */
enum { INIT_DONE, INIT_ICW2, INIT_ICW3, INIT_ICW4 };

/* OCW2, bits 7..5 */
enum {
	OCW2_ROTATE_AEOI_OFF,
	OCW2_EOI,
	OCW2_NOP,
	OCW2_EOI_SPECIFIC,
	OCW2_ROTATE_AEOI_ON,
	OCW2_ROTATE_EOI,
	OCW2_SET_PRIORITY,
	OCW2_ROTATE_EOI_SPECIFIC,
};

/*
 * Inputs that can be level-triggered: not those of the timer, keyboard, cascade, RTC and
 * coprocessor
 */
static const u8 elcr_masks[2] = { 0xf8, 0xde };

/* Distance of the highest-priority bit from the top of the rotation, 8 for none */
static unsigned int priority(const struct kvm_pic_state *c, u8 bits)
{
	unsigned int i;

	for (i = 0; i < 8; i++) {
		if (bits & BIT((i + c->priority_add) & 7))
			break;
	}
	return i;
}

/*
 * The input a chip raises INT for, or -1. In the middle of its initialisation it raises none. In
 * special fully nested mode the master lets the slave interrupt again while it is in service;
 * inputs below it still wait.
 */
static int requested_irq(const struct pic *p, unsigned int chip)
{
	const struct kvm_pic_state *c = &p->chip[chip];
	unsigned int request = priority(c, c->irr & ~c->imr);
	unsigned int service = priority(c, c->special_mask ? c->isr & ~c->imr : c->isr);
	int irq = (request + c->priority_add) & 7;

	if (c->init_state != INIT_DONE)
		return -1;
	if (request < service)
		return irq;
	if (request == service && request < 8 && chip == 0 && irq == PIC_CASCADE &&
	    c->special_fully_nested_mode)
		return irq;
	return -1;
}

static enum pic_result set_input(struct kvm_pic_state *c, unsigned int irq, bool level)
{
	u8 bit = BIT(irq);
	bool rising = level && !(c->last_irr & bit);
	bool requests = c->irr & bit;

	c->last_irr = level ? c->last_irr | bit : c->last_irr & ~bit;
	if (c->elcr & bit)
		c->irr = level ? c->irr | bit : c->irr & ~bit;
	else if (rising)
		c->irr |= bit;

	if (!level)
		return PIC_QUIET;
	if (c->imr & bit)
		return PIC_MASKED;
	return requests || !(c->irr & bit) ? PIC_COALESCED : PIC_REQUESTED;
}

static void update_output(struct pic *p)
{
	set_input(&p->chip[0], PIC_CASCADE, requested_irq(p, 1) >= 0);
	p->output = requested_irq(p, 0) >= 0;
}

void pic_reset(struct pic *p)
{
	memset(p, 0, sizeof(*p));
	p->chip[0].elcr_mask = elcr_masks[0];
	p->chip[1].elcr_mask = elcr_masks[1];
}

enum pic_result pic_set_line(struct pic *p, unsigned int pin, unsigned int source, bool level)
{
	enum pic_result result;

	if (level)
		p->sources[pin] |= BIT(source);
	else
		p->sources[pin] &= ~BIT(source);
	result = set_input(&p->chip[pin / 8], pin % 8, p->sources[pin]);
	update_output(p);
	return result;
}

/* The acknowledge cycle of one chip. A level-triggered request stays as long as its line. */
static void acknowledge(struct pic *p, unsigned int chip, unsigned int irq, u16 *ended)
{
	struct kvm_pic_state *c = &p->chip[chip];
	u8 bit = BIT(irq);

	if (!(c->elcr & bit))
		c->irr &= ~bit;
	if (!c->auto_eoi) {
		c->isr |= bit;
		return;
	}
	if (c->rotate_on_auto_eoi)
		c->priority_add = (irq + 1) & 7;
	*ended |= bit << chip * 8;
}

/*
 * INT of the slave falls during its acknowledge cycle, so that what it requests next is a new edge
 * for the master.
 */
static u8 acknowledge_slave(struct pic *p, u16 *ended)
{
	int irq = requested_irq(p, 1);

	if (irq < 0)
		irq = 7;
	else
		acknowledge(p, 1, irq, ended);
	set_input(&p->chip[0], PIC_CASCADE, false);
	return p->chip[1].irq_base + irq;
}

u8 pic_ack(struct pic *p, u16 *ended)
{
	int irq = requested_irq(p, 0);
	u8 vector;

	*ended = 0;
	if (irq < 0)
		return p->chip[0].irq_base + 7;
	acknowledge(p, 0, irq, ended);
	vector = p->chip[0].irq_base + irq;
	if (irq == PIC_CASCADE)
		vector = acknowledge_slave(p, ended);
	update_output(p);
	return vector;
}

bool pic_covers(u16 port)
{
	return (port & ~1) == PIC_PORT_MASTER || (port & ~1) == PIC_PORT_SLAVE ||
	       (port & ~1) == PIC_PORT_ELCR;
}

/*
 * ICW1 clears masks, service and the edge detectors: an edge-triggered line that is up has to fall
 * first.
 */
static void write_icw1(struct kvm_pic_state *c, u8 val)
{
	c->irr &= c->elcr;
	c->imr = 0;
	c->isr = 0;
	c->priority_add = 0;
	c->special_mask = 0;
	c->read_reg_select = 0;
	c->poll = 0;
	c->init4 = val & ICW1_ICW4;
	if (!c->init4) {
		c->auto_eoi = 0;
		c->special_fully_nested_mode = 0;
	}
	c->rotate_on_auto_eoi = 0;
	c->init_state = INIT_ICW2;
}

/* End of interrupt: the service bits that end */
static u8 eoi(struct kvm_pic_state *c, unsigned int irq, bool rotate)
{
	u8 bit = BIT(irq);
	u8 ended = c->isr & bit;

	c->isr &= ~bit;
	if (rotate)
		c->priority_add = (irq + 1) & 7;
	return ended;
}

/* The highest in service, except those that special mask mode hides from a non-specific EOI */
static u8 eoi_highest(struct kvm_pic_state *c, bool rotate)
{
	unsigned int distance = priority(c, c->special_mask ? c->isr & ~c->imr : c->isr);

	return distance < 8 ? eoi(c, (distance + c->priority_add) & 7, rotate) : 0;
}

static u8 write_ocw2(struct kvm_pic_state *c, u8 val)
{
	switch (val >> 5) {
	case OCW2_ROTATE_AEOI_OFF:
	case OCW2_ROTATE_AEOI_ON:
		c->rotate_on_auto_eoi = val >> 7;
		break;
	case OCW2_EOI:
	case OCW2_ROTATE_EOI:
		return eoi_highest(c, val >> 7);
	case OCW2_EOI_SPECIFIC:
	case OCW2_ROTATE_EOI_SPECIFIC:
		return eoi(c, val & 7, val >> 7);
	case OCW2_SET_PRIORITY:
		c->priority_add = (val + 1) & 7;
		break;
	}
	return 0;
}

static void write_ocw3(struct kvm_pic_state *c, u8 val)
{
	if (val & OCW3_POLL)
		c->poll = 1;
	if (val & BIT(1))
		c->read_reg_select = val & 1;
	if (val & BIT(6))
		c->special_mask = (val >> 5) & 1;
}

static void write_odd_port(struct kvm_pic_state *c, u8 val)
{
	switch (c->init_state) {
	case INIT_DONE:
		c->imr = val;
		break;
	case INIT_ICW2:
		c->irq_base = val & 0xf8;
		c->init_state = INIT_ICW3;
		break;
	case INIT_ICW3:
		c->init_state = c->init4 ? INIT_ICW4 : INIT_DONE;
		break;
	case INIT_ICW4:
		c->special_fully_nested_mode = !!(val & ICW4_SFNM);
		c->auto_eoi = !!(val & ICW4_AEOI);
		c->init_state = INIT_DONE;
		break;
	}
}

/* A pin that becomes level-triggered requests whatever its line says. */
static void write_elcr(struct kvm_pic_state *c, u8 val)
{
	u8 fresh;

	val &= c->elcr_mask;
	fresh = val & ~c->elcr;
	c->elcr = val;
	c->irr = (c->irr & ~fresh) | (c->last_irr & fresh);
}

void pic_write(struct pic *p, u16 port, u8 val, u16 *ended)
{
	bool elcr = (port & ~1) == PIC_PORT_ELCR;
	unsigned int chip = elcr ? port & 1 : (port & ~1) == PIC_PORT_SLAVE;
	struct kvm_pic_state *c = &p->chip[chip];
	u8 done = 0;

	if (elcr) {
		write_elcr(c, val);
	} else if (port & 1) {
		write_odd_port(c, val);
	} else if (val & ICW1) {
		done = c->isr;
		write_icw1(c, val);
	} else if (val & OCW3) {
		write_ocw3(c, val);
	} else {
		done = write_ocw2(c, val);
	}
	*ended = done << chip * 8;
	update_output(p);
}

/* The poll word: an acknowledge cycle of this chip alone */
static u8 poll(struct pic *p, unsigned int chip, u16 *ended)
{
	int irq = requested_irq(p, chip);

	p->chip[chip].poll = 0;
	if (irq < 0)
		return 0;
	acknowledge(p, chip, irq, ended);
	if (chip == 1)
		set_input(&p->chip[0], PIC_CASCADE, false);
	update_output(p);
	return POLL_REQUEST | irq;
}

u8 pic_read(struct pic *p, u16 port, u16 *ended)
{
	unsigned int chip = (port & ~1) == PIC_PORT_SLAVE;
	const struct kvm_pic_state *c = &p->chip[chip];

	*ended = 0;
	if ((port & ~1) == PIC_PORT_ELCR)
		return p->chip[port & 1].elcr;
	if (c->poll)
		return poll(p, chip, ended);
	if (port & 1)
		return c->imr;
	return c->read_reg_select ? c->isr : c->irr;
}

void pic_get_state(const struct pic *p, unsigned int chip, struct kvm_pic_state *s)
{
	*s = p->chip[chip];
}

int pic_set_state(struct pic *p, unsigned int chip, const struct kvm_pic_state *s)
{
	if (s->priority_add > 7 || s->init_state > INIT_ICW4)
		return -EINVAL;

	p->chip[chip] = *s;
	p->chip[chip].elcr_mask = elcr_masks[chip];
	p->chip[chip].elcr &= elcr_masks[chip];
	memset(&p->sources[chip * 8], 0, 8 * sizeof(p->sources[0]));
	p->output = requested_irq(p, 0) >= 0;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The PC's pair of interrupt controllers (8259A data sheet), with the edge/level control registers
 * of the PIIX.
 *
 * State is kept in the ABI's own structure, one per chip: last_irr is the level of the input lines,
 * irr what they request.  The slave's output is the master's input 2.
 *
 * Not modelled, as no PC wires it: single mode, buffered mode, the 8080's CALL sequence, level
 * sensing by ICW1.
 */
#ifndef STRATA_PIC_H
#define STRATA_PIC_H

#include <linux/types.h>
#include <linux/kvm.h>

#define PIC_PINS		16
#define PIC_CASCADE		2

#define PIC_PORT_MASTER		0x20
#define PIC_PORT_SLAVE		0xa0
#define PIC_PORT_ELCR		0x4d0

/**
 * struct pic - both chips
 * @chip: master, slave
 * @sources: per pin, which sources hold its line up
 * @output: the master's INT line
 */
struct pic {
	struct kvm_pic_state chip[2];
	u32 sources[PIC_PINS];
	bool output;
};

/**
 * enum pic_result - what became of a line change, for KVM_IRQ_LINE_STATUS
 * @PIC_MASKED: ignored, the pin is masked
 * @PIC_COALESCED: the pin requests already
 * @PIC_REQUESTED: a new request
 * @PIC_QUIET: no request (the line fell)
 */
enum pic_result {
	PIC_MASKED,
	PIC_COALESCED,
	PIC_REQUESTED,
	PIC_QUIET,
};

void pic_reset(struct pic *p);

/* pic_set_line(): one of the sources (0..31) of a pin (0..15) changes. @p->output follows. */
enum pic_result pic_set_line(struct pic *p, unsigned int pin, unsigned int source, bool level);

/**
 * pic_ack() - the processor's interrupt acknowledge cycle
 * @p: the controllers
 * @ended: pins whose service ended at once (automatic EOI)
 *
 * Return: the vector; with nothing requested that of a spurious IRQ7 or IRQ15, for which no
 * in-service bit is set.
 */
u8 pic_ack(struct pic *p, u16 *ended);

/* pic_covers(): the port is one of the controllers' or of ELCR. */
bool pic_covers(u16 port);

/* pic_read(): IN of one byte; a poll command acknowledges, hence not const. */
u8 pic_read(struct pic *p, u16 port, u16 *ended);

/* pic_write(): OUT of one byte. @ended: pins whose service ended, for those who wait for it. */
void pic_write(struct pic *p, u16 port, u8 val, u16 *ended);

/* KVM_GET_IRQCHIP and KVM_SET_IRQCHIP of one chip: 0 master, 1 slave */
void pic_get_state(const struct pic *p, unsigned int chip, struct kvm_pic_state *s);

/**
 * pic_set_state() - KVM_SET_IRQCHIP of one chip
 * @p: the controllers; who holds a line up is forgotten: the first source of a pin that
 *	changes decides
 * @chip: 0 master, 1 slave
 * @s: the image
 *
 * The other chip does not notice until its next change, so both orders give the same.
 *
 * Return: 0, or -EINVAL for states that do not exist.
 */
int pic_set_state(struct pic *p, unsigned int chip, const struct kvm_pic_state *s);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Message-signalled interrupts: address and data decoded to an interrupt message (SDM vol. 3,
 * "Message Signalled Interrupts").
 */
#ifndef STRATA_MSI_H
#define STRATA_MSI_H

#include "msg.h"

/**
 * struct msi_api - what KVM_CAP_X2APIC_API made of destinations
 * @ids32: KVM_X2APIC_API_USE_32BIT_IDS: the upper address word holds bits 31..8 of the destination
 * @no_quirk: KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK: 0xff is an ordinary destination for an
 *	APIC in x2APIC mode
 */
struct msi_api {
	bool ids32;
	bool no_quirk;
};

static inline bool msi_api_equal(const struct msi_api *a, const struct msi_api *b)
{
	return a->ids32 == b->ids32 && a->no_quirk == b->no_quirk;
}

/*
 * irq_msg_broadcast(): settle whether a device's @m->dest means everybody. Also for the IOAPIC's
 * messages.
 */
static inline void irq_msg_broadcast(struct irq_msg *m, const struct msi_api *api)
{
	m->broadcast = (m->dest == 0xff && !api->no_quirk) || (m->dest == ~0u && api->ids32);
}

/**
 * msi_decode() - the interrupt message of an MSI
 * @lo: address, low word
 * @hi: address, high word; ignored unless @api says that it has destination bits
 * @data: data; its assert bit is not looked at, as userspace IOAPICs leave it clear
 * @api: destination format
 * @m: result
 *
 * Return: 0, or -EINVAL if reserved bits of @hi are set.
 */
int msi_decode(u32 lo, u32 hi, u32 data, const struct msi_api *api, struct irq_msg *m);

#endif

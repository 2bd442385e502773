// SPDX-License-Identifier: GPL-2.0
/*
 * Message-signalled interrupts.
 */
#include "msi.h"

#include <linux/bits.h>
#include <linux/errno.h>

#define ADDR_LOGICAL	BIT(2)
#define ADDR_REDIRECT	BIT(3)
#define ADDR_DEST_SHIFT	12
#define DATA_MODE_SHIFT	8
#define DATA_LEVEL	BIT(15)

int msi_decode(u32 lo, u32 hi, u32 data, const struct msi_api *api, struct irq_msg *m)
{
	if (api->ids32 && hi & 0xff)
		return -EINVAL;

	*m = (struct irq_msg){
		.vector		= data & 0xff,
		.mode		= (data >> DATA_MODE_SHIFT) & 7,
		.logical	= lo & ADDR_LOGICAL,
		.redirect	= lo & ADDR_REDIRECT,
		.level		= data & DATA_LEVEL,
		.dest		= ((lo >> ADDR_DEST_SHIFT) & 0xff) | (api->ids32 ? hi : 0),
	};
	irq_msg_broadcast(m, api);
	return 0;
}

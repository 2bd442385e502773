/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Debug registers of the guest, and userspace's debugging of the guest.
 */
#ifndef STRATA_DEBUG_H
#define STRATA_DEBUG_H

#include <linux/types.h>

struct vcpu;

#define DR6_FIXED	0xfffe0ff0ul	/* reads as 1; RTM (bit 16) too where there is no RTM */
#define DR6_RTM_BIT	(1ul << 16)
#define DR6_BUS_LOCK	(1ul << 11)
#define DR6_BD_BIT	(1ul << 13)
#define DR6_BS_BIT	(1ul << 14)
#define DR6_INIT	0xffff0ff0ul
#define DR7_GD_BIT	(1ul << 13)
#define DR7_ENABLED	0xfful
#define DR7_INIT	0x400ul

/**
 * struct vcpu_debug - debug registers and KVM_SET_GUEST_DEBUG; (v)
 * @db: DR0..DR3 of the guest
 * @dr6: guest's DR6
 * @dr7: guest's DR7
 * @user_db: breakpoints of KVM_GUESTDBG_USE_HW_BP
 * @user_dr7: the same
 * @guest_debug: KVM_GUESTDBG_*
 * @step_rip: linear RIP at which single-stepping by userspace started
 * @guest_owned: the CPU's registers hold the guest's (no MOV DR intercept until the next exit)
 * @active: breakpoints to be loaded at entry (DR7 has any enabled, or userspace's has)
 */
struct vcpu_debug {
	unsigned long db[4];
	unsigned long dr6;
	unsigned long dr7;
	unsigned long user_db[4];
	unsigned long user_dr7;
	u32 guest_debug;
	unsigned long step_rip;
	bool guest_owned;
	bool active;
};

/*
 * MOV from and to a debug register by the guest: 0, or the vector to raise: 6 (#UD), 13 (#GP), 1
 * (#DB for general detect: vcpu_raise_db(v, DR6_BD_BIT), DR7.GD is cleared by its delivery). The
 * caller has checked the privilege level.
 */
int debug_get(struct vcpu *v, int dr, unsigned long *val);
int debug_set(struct vcpu *v, int dr, unsigned long val);

/*
 * DR7 that the control block is to hold: userspace's while it uses hardware breakpoints, else the
 * guest's
 */
unsigned long debug_effective_dr7(const struct vcpu_debug *d);

/* Around an entry, interrupts off; only called when debug.active or guest_owned. */
void debug_load_guest(struct vcpu *v);
void debug_load_host(struct vcpu *v);

/* Delivery of a #DB begins: its payload enters DR6, and DR7.GD goes. */
void debug_apply_payload(struct vcpu *v, u64 payload);

/* The other level's DR6 and DR7, as a control block gives them; DR0..DR3 are common to both. */
void debug_switch(struct vcpu *v, unsigned long dr6, unsigned long dr7);

void debug_reset(struct vcpu *v, bool init);

/* DR6 and DR7 as a whole, their upper halves 0: reserved bits are made what they read as. */
void debug_load(struct vcpu *v, unsigned long dr6, unsigned long dr7);


#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The thin layer around the controllers of irq/: locks, timers, wake-ups, ioctls.
 *
 * A local APIC belongs to its vCPU's thread (v). Others post vectors in atomic bitmaps (a) and find
 * destinations in an RCU map of copies. PIC, IOAPIC and PIT have a raw lock each, so that
 * interrupts can be raised from any context; none of them is held while another is taken, except
 * that the IOAPIC sends its messages with its lock held.
 */
#ifndef STRATA_IRQCHIP_H
#define STRATA_IRQCHIP_H

#include "../irq/ioapic.h"
#include "../irq/lapic_dest.h"
#include "../irq/msi.h"
#include "../irq/pic.h"
#include "../irq/pit.h"

#include "../../../virt/iobus.h"

#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

struct vm;
struct vcpu;

/**
 * struct apic_map_entry - one local APIC as senders see it
 * @addr: under which names it listens
 * @vcpu: whose it is
 */
struct apic_map_entry {
	struct lapic_addr addr;
	struct vcpu *vcpu;
};

/**
 * struct apic_map - all local APICs of a VM, by vCPU index; replaced as a whole
 * @next: another that was replaced
 * @nr: entries
 * @entry: the local APICs
 */
struct apic_map {
	struct apic_map *next;
	unsigned int nr;
	struct apic_map_entry entry[];
};

/* Where a local APIC's registers are, for CPUs that serve them */
enum apic_mode {
	APIC_OFF,	/* nowhere, or where the model alone has to do with them */
	APIC_ELSEWHERE,	/* not at the default address */
	APIC_PLAIN,	/* there */
	APIC_X2APIC,	/* MSRs */
};

/**
 * struct vcpu_apic - the local APIC of a vCPU in the kernel
 * @lapic: (v) the model
 * @vcpu: (c) whose
 * @pic: (c) the PIC in the kernel, or NULL; only its output is looked at here
 * @addr: (vm_irq.map_lock) the copy that is in the map
 * @irr: (a) vectors posted by others
 * @level: (a) how each vector was last posted; written before the bit in @irr
 * @extint: (a) the PIC's interrupt reaches this vCPU
 * @eoi_exit: (v) vector of the EOI that userspace's IOAPIC is to hear of (REQ_EOI_EXIT)
 * @mode: (v) as the backend was told; enum apic_mode
 * @page_hidden: (v) the vCPU counts in vm_mmu.apic_page_hidden
 * @hw: (v) the CPU takes vectors from the register page and ends their service by itself (APICv):
 *	they are not offered for injection
 * @eoi_wanted: (a) vectors that came as a level or from a pin: others want to hear of their EOI.
 *	Bits stay
 * @eoi_fresh: (a) a bit of @eoi_wanted was set since the backend looked
 * @timer: (c) asks the vCPU's thread to let the APIC's timer expire
 * @due: (v) the host's TSC when it expires, where the backend ends the guest then and @timer is
 *	needed for a vCPU that waits only; 0: not so
 * @regs: (v) register page; VMX uses it as virtual-APIC page
 * @vapic: (v) address of the word that shows TPR, 0 without (KVM_SET_VAPIC_ADDR)
 * @vapic_shown: (v) the word was written, and what the guest makes of it is to be taken
 * @report_tpr: (v) KVM_TPR_ACCESS_REPORTING
 * @tpr_write: (v) the access that is to be reported (REQ_TPR_ACCESS)
 * @tpr_rip: (v) the instruction that did it
 */
struct vcpu_apic {
	struct lapic lapic;
	struct vcpu *vcpu;
	const struct pic *pic;
	struct lapic_addr addr;
	unsigned long irr[4];
	unsigned long level[4];
	bool extint;
	u8 eoi_exit;
	u8 mode;
	bool page_hidden;
	bool hw;
	bool eoi_fresh;
	unsigned long eoi_wanted[4];
	struct hrtimer timer;
	u64 due;
	u32 *regs;
	u64 vapic;
	bool vapic_shown;
	bool report_tpr;
	bool tpr_write;
	u64 tpr_rip;
};

/**
 * struct irq_chips - PIC and IOAPIC in the kernel
 * @vm: (c) whose
 * @pic_lock: @pic; @pic.output is also read without it
 * @pic: both 8259A
 * @io_lock: @ioapic
 * @ioapic: the IOAPIC
 * @dev: their ports
 */
struct irq_chips {
	struct vm *vm;
	raw_spinlock_t pic_lock;
	struct pic pic;
	raw_spinlock_t io_lock;
	struct ioapic ioapic;
	struct virt_iodev dev[3];
};

struct irq_routes;
struct pit_dev;

/**
 * struct vm_irq - interrupt controllers of a VM
 * @map_lock: replacing @map
 * @map: RCU: destinations
 * @old_maps: (map_lock) replaced, and perhaps still read
 * @old_size: (map_lock) their bytes
 * @routes_lock: replacing @routes
 * @routes: RCU: what KVM_SET_GSI_ROUTING said
 * @chips: (c) once set: PIC and IOAPIC, full irqchip only
 * @pit: (c) once set: the PIT; vm->lock to set
 * @bsp_id: (vm->lock) KVM_SET_BOOT_CPU_ID; before the first vCPU
 * @split_pins: (c) pins of userspace's IOAPIC, as KVM_CAP_SPLIT_IRQCHIP said
 * @api: (vm->lock) KVM_CAP_X2APIC_API
 */
struct vm_irq {
	struct mutex map_lock;
	struct apic_map __rcu *map;
	struct apic_map *old_maps;
	size_t old_size;
	struct mutex routes_lock;
	struct irq_routes __rcu *routes;
	struct irq_chips *chips;
	struct pit_dev *pit;
	u32 bsp_id;
	u32 split_pins;
	struct msi_api api;
};

/* The VM's part: irqchip.c. Quiesce: no timer raises an interrupt any more. */
void irq_vm_init(struct vm *vm);
void irq_vm_quiesce(struct vm *vm);
void irq_vm_destroy(struct vm *vm);

/* apic.c: the vCPU's own thread, unless said otherwise */
int apic_create(struct vcpu *v);
void apic_destroy(struct vcpu *v);
/* RESET, or INIT */
void apic_reset(struct vcpu *v, bool init);
/* CPUID or capabilities changed. */
void apic_configure(struct vcpu *v);
/* WRMSR or SET of IA32_APIC_BASE; 0, or 1 for #GP */
int apic_set_base(struct vcpu *v, u64 val, bool host);
/* CR8 was written: TPR follows. */
void apic_set_cr8(struct vcpu *v);
/* The CPU wrote TPR into the register page: the rest follows. */
void apic_tpr_written(struct vcpu *v);
/* Vectors posted by others become part of the APIC. */
void apic_drain(struct vcpu *v);
/* REQ_APIC_TIMER */
void apic_timer_due(struct vcpu *v);
/* The vCPU is about to wait: it is to be woken when the timer expires. */
void apic_timer_wait(struct vcpu *v);
/* The guest's TSC was set, or the host's: a deadline is at another time now. */
void apic_tsc_changed(struct vcpu *v);
/* An access to the APIC's page; false: it is not there. */
bool apic_mmio(struct vcpu *v, u64 gpa, unsigned int len, void *data, bool write);
/* MSRs 0x800..0x8ff and IA32_TSC_DEADLINE; 0, or 1 for #GP */
int apic_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host);
int apic_set_msr(struct vcpu *v, u32 msr, u64 val, bool host);
/* The CPU wrote a register into the page for the guest: what follows from it. */
void apic_written(struct vcpu *v, unsigned int reg);
/* What is kept outside the model follows it. May sleep if the names or the mode changed. */
void apic_follow(struct vcpu *v);
/* Somebody waits for this vector's EOI. Any thread, before the vector is posted. */
static inline void apic_want_eoi(struct vcpu_apic *a, u8 vector)
{
	if (likely(test_bit(vector, a->eoi_wanted)))
		return;
	set_bit(vector, a->eoi_wanted);
	/* The backend clears it before it reads the bits. */
	smp_store_mb(a->eoi_fresh, true);
}

/* The CPU ended the service of a vector of eoi_wanted. */
void apic_eoi_done(struct vcpu *v, u8 vector);
static inline bool apic_pic_offers(const struct vcpu_apic *a)
{
	return a->extint && a->pic && READ_ONCE(a->pic->output);
}

/* The controllers offer an interrupt for injection. */
static inline bool apic_offers(const struct vcpu_apic *a)
{
	return (!a->hw && lapic_pending_vector(&a->lapic)) || apic_pic_offers(a);
}

/* There is an interrupt that the processor could take, whoever delivers it. */
bool apic_holds(const struct vcpu_apic *a);
/*
 * A vCPU whose controllers offer an interrupt acknowledges it, entry being certain: the vector, or
 * -1 if another vCPU was faster.
 */
int apic_ack(struct vcpu *v);
/* The guest ended the interrupt in service without writing to a register. */
void apic_eoi(struct vcpu *v);

/* deliver.c: any thread, any context but NMI */

/**
 * apic_send() - deliver a message to the local APICs it addresses
 * @vm: the machine
 * @m: the message
 * @src: the vCPU that sends it as an IPI, NULL for a device
 *
 * Return: how many took it as new, 0 if it was pending at all of them, -1 if nobody took it.
 */
int apic_send(struct vm *vm, const struct irq_msg *m, struct vcpu *src);
/* The same with preemption off already. */
int apic_send_atomic(struct vm *vm, const struct irq_msg *m, struct vcpu *src);
/* Put @v's names, as they are now, into the map. May sleep. */
void apic_map_update(struct vcpu *v);
void apic_map_destroy(struct vm *vm);
/* The vCPU whose local APIC has this ID, or NULL */
struct vcpu *apic_find(struct vm *vm, u32 id);
/* The PIC's output rose. */
void apic_kick_extint(struct vm *vm, u8 vector);

/* vapic.c: TPR in the guest's memory */
/* The guest's instruction touches TPR by MMIO, and userspace wants to know (REQ_TPR_ACCESS). */
void vapic_note_access(struct vcpu *v, bool write);
/* Before an entry; may sleep. Then again with interrupts off, if an interrupt was acknowledged. */
void vapic_show(struct vcpu *v);
void vapic_show_nofault(struct vcpu *v);
/* After an entry; may sleep. */
void vapic_take(struct vcpu *v);

/* chips.c: PIC and IOAPIC */
int chips_create(struct vm *vm);
void chips_destroy(struct vm *vm);
int chips_pic_line(struct vm *vm, unsigned int pin, unsigned int source, bool level);
int chips_ioapic_line(struct vm *vm, unsigned int pin, unsigned int source, bool level);
int chips_pic_ack(struct vm *vm);
bool chips_ioapic_mmio(struct vcpu *v, u64 gpa, unsigned int len, void *data, bool write);
/* The guest ended the service of a vector; @broadcast: the IOAPICs are told. */
void chips_eoi(struct vm *vm, u8 vector, bool broadcast);

/* route.c */
int routes_set_default(struct vm *vm);
/* No interrupt number stands for anything again. */
void routes_drop(struct vm *vm);
void routes_destroy(struct vm *vm);
/* The EOI of this vector is to be told to userspace's IOAPIC (split irqchip). */
bool routes_eoi_to_user(struct vm *vm, u8 vector);
/* A pin's interrupt is over: chip KVM_IRQCHIP_*. */
void routes_pin_acked(struct vm *vm, u32 chip, u32 pin);

/* pit.c */
void pit_dev_acked(struct pit_dev *p);
/* An acknowledgement is awaited. */
bool pit_dev_waits(const struct pit_dev *p);
/* The guest changed masks or vectors: an acknowledgement that was awaited may never come. */
void pit_dev_retry(struct pit_dev *p);
void pit_dev_quiesce(struct pit_dev *p);
void pit_dev_destroy(struct pit_dev *p);

struct ioctl_row;
extern const struct ioctl_row irqchip_vm_ioctls[], route_vm_ioctls[], pit_vm_ioctls[],
	apic_vcpu_ioctls[], vapic_vcpu_ioctls[];
extern const unsigned int irqchip_nr_vm_ioctls, route_nr_vm_ioctls, pit_nr_vm_ioctls,
	apic_nr_vcpu_ioctls, vapic_nr_vcpu_ioctls;

/* KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_X2APIC_API; vm->lock held */
long irqchip_enable_split(struct vm *vm, u64 pins);
long irqchip_enable_x2apic_api(struct vm *vm, u64 flags);

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * Delivery of interrupt messages: who is meant, and putting it there. No lock is taken.
 */
#include "../ioctl.h"
#include "../strata.h"
#include "../trace_queue.h"

#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/sizes.h>
#include <linux/slab.h>

/*
 * Candidates of one arbitration; those beyond do not take part. No logical destination but a
 * broadcast has more.
 */
#define MAX_RIVALS	32

/*
 * Bytes of replaced maps that may wait for their readers, and what an allocation takes beside its
 * contents
 */
#define MAX_OLD_MAPS	SZ_1M
#define MAP_OVERHEAD	64

/*
 * A vector for another thread's APIC. Its level bit goes first: whoever sees the vector sees how it
 * was triggered.
 */
static int post_vector(struct vcpu *v, const struct irq_msg *m)
{
	struct vcpu_apic *a = v->apic;
	u8 vector = m->vector;

	if (m->level | m->pin)
		apic_want_eoi(a, vector);
	if (m->level)
		set_bit(vector, a->level);
	else if (test_bit(vector, a->level))
		clear_bit(vector, a->level);
	if (test_and_set_bit(vector, a->irr))
		return 0;	/* whoever set it asks the vCPU to look */
	trace_strata_event_queued(v, PLACE_LAPIC, EVENT_INTERRUPT, vector);
	virt_request(&v->virt, REQ_EVENT);
	virt_kick(&v->virt);
	return !(READ_ONCE(a->regs[LAPIC_IRR / 4 + vector / 32 * 4]) & BIT(vector % 32));
}

static void post_init(struct vcpu *v)
{
	clear_bit(INBOX_SIPI, &v->inbox);
	vcpu_post(v, INBOX_INIT);
}

static void post_sipi(struct vcpu *v, u8 vector)
{
	WRITE_ONCE(v->sipi_vector, vector);
	/* Pairs with the exchange of the inbox. */
	smp_wmb();
	vcpu_post(v, INBOX_SIPI);
}

static noinline int put_other(struct vcpu *v, const struct irq_msg *m)
{
	switch (m->mode) {
	case IRQ_MODE_NMI:
		vcpu_post_nmi(v);
		return 1;
	case IRQ_MODE_INIT:
		post_init(v);
		return 1;
	case IRQ_MODE_SIPI:
		post_sipi(v, m->vector);
		return 1;
	case IRQ_MODE_SMI:
		vcpu_post(v, INBOX_SMI);
		return 1;
	default:
		return 0;	/* ExtINT comes by LINT0 only */
	}
}

static __always_inline int put(struct vcpu *v, const struct irq_msg *m)
{
	if (unlikely(m->mode != IRQ_MODE_FIXED && m->mode != IRQ_MODE_LOWEST))
		return put_other(v, m);
	return m->vector < 16 ? 0 : post_vector(v, m);
}

static bool meant(const struct apic_map_entry *e, const struct irq_msg *m, const struct vcpu *src)
{
	return lapic_match(&e->addr, m, e->vcpu == src) && lapic_takes(&e->addr, m);
}

static int send_lowest(const struct apic_map *map, const struct irq_msg *m, const struct vcpu *src)
{
	struct lapic_rival rival[MAX_RIVALS];
	unsigned int i, n = 0;

	for (i = 0; i < map->nr && n < MAX_RIVALS; i++) {
		const struct apic_map_entry *e = &map->entry[i];

		if (!meant(e, m, src))
			continue;
		rival[n].vcpu = i;
		rival[n++].prio = READ_ONCE(e->vcpu->apic->regs[LAPIC_PPR / 4]);
	}
	if (!n)
		return -1;
	return put(map->entry[rival[lapic_arbitrate(rival, n, m->vector)].vcpu].vcpu, m);
}

static int send_all(const struct apic_map *map, const struct irq_msg *m, const struct vcpu *src)
{
	unsigned int i;
	int ret = -1;

	for (i = 0; i < map->nr; i++) {
		if (!meant(&map->entry[i], m, src))
			continue;
		ret = max(ret, 0) + put(map->entry[i].vcpu, m);
	}
	return ret;
}

/* Most messages go to one APIC whose ID is its index. */
static const struct apic_map_entry *by_index(const struct apic_map *map, const struct irq_msg *m)
{
	const struct apic_map_entry *e;

	if (m->logical | m->broadcast | m->shorthand || m->dest >= min(map->nr, 255u))
		return NULL;
	e = &map->entry[array_index_nospec(m->dest, map->nr)];
	return (e->addr.x2apic ? e->addr.id : e->addr.xid) == m->dest && lapic_takes(&e->addr, m) ? e : NULL;
}

static noinline int send_by_match(const struct apic_map *map, const struct irq_msg *m,
				  const struct vcpu *src)
{
	if (!map)
		return -1;
	return irq_msg_lowest(m) ? send_lowest(map, m, src) : send_all(map, m, src);
}

int apic_send_atomic(struct vm *vm, const struct irq_msg *m, struct vcpu *src)
{
	const struct apic_map *map = rcu_dereference_sched(vm->irq.map);
	const struct apic_map_entry *e = likely(map) ? by_index(map, m) : NULL;

	return likely(e) ? put(e->vcpu, m) : send_by_match(map, m, src);
}

int apic_send(struct vm *vm, const struct irq_msg *m, struct vcpu *src)
{
	int ret;

	rcu_read_lock_sched();
	ret = apic_send_atomic(vm, m, src);
	rcu_read_unlock_sched();
	return ret;
}

struct vcpu *apic_find(struct vm *vm, u32 id)
{
	const struct irq_msg m = { .dest = id };
	const struct apic_map *map;
	struct vcpu *v = NULL;
	unsigned int i;

	rcu_read_lock();
	map = rcu_dereference(vm->irq.map);
	for (i = 0; map && !v && i < map->nr; i++)
		if (lapic_match(&map->entry[i].addr, &m, false))
			v = map->entry[i].vcpu;
	rcu_read_unlock();
	return v;
}

static void free_old_maps(struct vm *vm)
{
	struct apic_map *map, *next;

	for (map = vm->irq.old_maps; map; map = next) {
		next = map->next;
		kvfree(map);
	}
	vm->irq.old_maps = NULL;
	vm->irq.old_size = 0;
}

/*
 * A guest can replace the map as often as it likes: it waits for the readers of what it would
 * otherwise hold too much of.
 */
static void retire_map(struct vm *vm, struct apic_map *map)
{
	map->next = vm->irq.old_maps;
	vm->irq.old_maps = map;
	vm->irq.old_size += struct_size(map, entry, map->nr) + MAP_OVERHEAD;
	if (vm->irq.old_size < MAX_OLD_MAPS)
		return;
	synchronize_rcu();
	free_old_maps(vm);
}

void apic_map_update(struct vcpu *v)
{
	struct vm *vm = vcpu_vm(v);
	struct lapic_addr addr = lapic_addr(&v->apic->lapic);
	struct apic_map *map, *old;
	struct virt_vcpu *vv;
	unsigned int nr;

	mutex_lock(&vm->irq.map_lock);
	old = rcu_dereference_protected(vm->irq.map, lockdep_is_held(&vm->irq.map_lock));
	if (old && v->virt.index < old->nr && lapic_addr_same(&v->apic->addr, &addr))
		goto out;
	v->apic->addr = addr;
	nr = READ_ONCE(vm->virt.nr_vcpus);
	/* A guest's write cannot fail for lack of memory. */
	map = kvzalloc(struct_size(map, entry, nr), GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	while (map->nr < nr && (vv = virt_vcpu_at(&vm->virt, map->nr))) {
		map->entry[map->nr].addr = to_vcpu(vv)->apic->addr;
		map->entry[map->nr].vcpu = to_vcpu(vv);
		map->nr++;
	}
	rcu_assign_pointer(vm->irq.map, map);
	if (old)
		retire_map(vm, old);
out:
	mutex_unlock(&vm->irq.map_lock);
}

void apic_map_destroy(struct vm *vm)
{
	free_old_maps(vm);
	kvfree(rcu_dereference_protected(vm->irq.map, true));
}

void apic_kick_extint(struct vm *vm, u8 vector)
{
	struct virt_vcpu *vv;
	unsigned int i;

	virt_for_each_vcpu(i, vv, &vm->virt) {
		if (!READ_ONCE(to_vcpu(vv)->apic->extint))
			continue;
		trace_strata_event_queued(to_vcpu(vv), PLACE_PIC, EVENT_INTERRUPT, vector);
		virt_request(vv, REQ_EVENT);
		virt_kick(vv);
	}
}

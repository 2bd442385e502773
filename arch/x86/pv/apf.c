// SPDX-License-Identifier: GPL-2.0
/*
 * Asynchronous page faults. A guest whose memory the host has swapped out, or not fetched yet, need
 * not wait for a page: it gets a page fault with a token for an address, runs something else, and
 * is interrupted when the page has come.
 *
 * The page is fetched by a work item, which holds a reference to the VM. Tokens of pages that have
 * come are handed over one at a time: the guest clears the word and acknowledges each. Nothing of
 * it is in an image but the MSRs: whoever sets MSR_KVM_ASYNC_PF_EN from userspace has the guest
 * woken altogether (token ~0), and its tasks look again. So a restored guest waits for no page that
 * never comes, and pages that the vCPU had on their way before are forgotten.
 */
#include "../backend.h"
#include "../strata.h"
#include "../trace_kvm.h"
#include "memory.h"

#include <linux/kvm_para.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#define APF_MAX		64	/* pages of a vCPU on their way */
#define WAKE_ALL	(~0u)

#define APF_GPA(v)	((v)->pv.apf.en & ~63ull)
#define FLAGS_GPA(v)	(APF_GPA(v) + offsetof(struct kvm_vcpu_pv_apf_data, flags))
#define TOKEN_GPA(v)	(APF_GPA(v) + offsetof(struct kvm_vcpu_pv_apf_data, token))

/**
 * struct apf_page - a page on its way
 * @work: fetches it
 * @link: in vcpu_apf.come
 * @v: who waits
 * @gpa: where the guest has it
 * @hva: where userspace has it
 * @write: whoever waits writes to it
 * @token: by which the guest knows it
 * @epoch: vcpu_apf.epoch when it was asked for
 */
struct apf_page {
	struct work_struct work;
	struct list_head link;
	struct vcpu *v;
	u64 gpa;
	unsigned long hva;
	bool write;
	u32 token;
	u32 epoch;
};

/*
 * A queue of the module's own: a work item may be all that is left of a VM, and must have ended
 * before the module goes.
 */
static struct workqueue_struct *fetchers;

int apf_module_init(void)
{
	fetchers = alloc_workqueue("strata-apf", WQ_UNBOUND, 0);
	return fetchers ? 0 : -ENOMEM;
}

void apf_module_exit(void)
{
	destroy_workqueue(fetchers);
}

/* ---- pages on their way ---- */

static void forget(struct vcpu_apf *a)
{
	struct apf_page *p, *next;
	LIST_HEAD(come);

	spin_lock(&a->lock);
	a->epoch++;
	list_splice_init(&a->come, &come);
	list_for_each_entry(p, &come, link)
		a->nr--;
	spin_unlock(&a->lock);
	list_for_each_entry_safe(p, next, &come, link)
		kfree(p);
}

static void page_came(struct apf_page *p)
{
	struct vcpu *v = p->v;
	struct vcpu_apf *a = &v->pv.apf;
	bool wanted;

	spin_lock(&a->lock);
	wanted = p->epoch == a->epoch;
	if (wanted)
		list_add_tail(&p->link, &a->come);
	else
		a->nr--;
	spin_unlock(&a->lock);
	if (!wanted) {
		kfree(p);
		return;
	}
	virt_request(&v->virt, REQ_APF);
	virt_kick(&v->virt);
}

static void fetch(struct work_struct *work)
{
	struct apf_page *p = container_of(work, struct apf_page, work);
	struct virt_vm *vm = p->v->virt.vm;
	struct mm_struct *mm = vm->mm;
	bool unlocked = false;

	if (mmget_not_zero(mm)) {
		mmap_read_lock(mm);
		/* If it fails the guest's next access finds out why. */
		fixup_user_fault(mm, p->hva, p->write ? FAULT_FLAG_WRITE : 0, &unlocked);
		mmap_read_unlock(mm);
		mmput(mm);
	}
	page_came(p);
	virt_vm_put(vm);
}

/* ---- the page fault ---- */

/*
 * A page fault instead of the access must not come on top of another event, nor where the guest
 * could not switch to something else: with interrupts off, or in its kernel if it did not say that
 * this is fine. L2's faults are L1's own business.
 */
static bool can_take(struct vcpu *v)
{
	const struct event_queue *q = &v->events;

	if (v->guest_mode || q->smm || q->delivering.type || q->exception.type ||
	    v->pv.apf.vector < 16)
		return false;
	if (!(v->pv.apf.en & KVM_ASYNC_PF_SEND_ALWAYS) && backend_call(cpl)(v) != 3)
		return false;
	return (vcpu_rflags(v) & X86_EFLAGS_IF) && !backend_call(shadow)(v);
}

/*
 * Neither 0, which is no token, nor the one for all; unique among the vCPUs that have few enough on
 * their way.
 */
static u32 next_token(struct vcpu *v)
{
	struct vcpu_apf *a = &v->pv.apf;

	a->last = a->last % 0xffffe + 1;
	return a->last << 12 | (v->virt.id & 0xfff);
}

/*
 * The word that says which kind of page fault it is: while it is set the guest has not looked at
 * the last one.
 */
static bool mark(struct vcpu *v)
{
	u32 flags;

	if (pv_read(v, FLAGS_GPA(v), &flags, sizeof(flags)) || flags)
		return false;
	flags = KVM_PV_REASON_PAGE_NOT_PRESENT;
	return !pv_write(v, FLAGS_GPA(v), &flags, sizeof(flags));
}

static struct apf_page *new_page(struct vcpu *v)
{
	struct vcpu_apf *a = &v->pv.apf;
	struct apf_page *p = NULL;

	spin_lock(&a->lock);
	if (a->nr < APF_MAX)
		p = kzalloc(sizeof(*p), GFP_NOWAIT | __GFP_NOWARN);
	if (p) {
		p->epoch = a->epoch;
		a->nr++;
	}
	spin_unlock(&a->lock);
	return p;
}

static void drop_page(struct apf_page *p)
{
	struct vcpu_apf *a = &p->v->pv.apf;

	spin_lock(&a->lock);
	a->nr--;
	spin_unlock(&a->lock);
	kfree(p);
}

bool apf_start(struct vcpu *v, u64 gpa, unsigned long hva, bool write)
{
	struct apf_page *p;

	if (!can_take(v))
		return false;
	p = new_page(v);
	if (!p)
		return false;
	p->v = v;
	if (!mark(v)) {
		drop_page(p);
		return false;
	}
	p->gpa = gpa;
	p->hva = hva;
	p->write = write;
	p->token = next_token(v);
	trace_kvm_async_pf_not_present(p->token, gpa);
	vcpu_raise_pf(v, 0, p->token);
	INIT_WORK(&p->work, fetch);
	virt_vm_get(v->virt.vm);
	queue_work(fetchers, &p->work);
	return true;
}

/* ---- the interrupt ---- */

/* The next token for the guest, 0 if there is none. */
static u32 take_token(struct vcpu_apf *a, u64 *gpa)
{
	struct apf_page *p;
	u32 token;

	if (a->wake_all) {
		a->wake_all = false;
		return WAKE_ALL;
	}
	spin_lock(&a->lock);
	p = list_first_entry_or_null(&a->come, struct apf_page, link);
	if (p) {
		list_del(&p->link);
		a->nr--;
	}
	spin_unlock(&a->lock);
	if (!p)
		return 0;
	token = p->token;
	*gpa = p->gpa;
	kfree(p);
	return token;
}

void apf_update(struct vcpu *v)
{
	struct vcpu_apf *a = &v->pv.apf;
	u64 gpa = 0;
	u32 token;

	if (!a->on || a->unacked)
		return;
	/*
	 * In a restored guest that has not acknowledged the last one yet, its acknowledgement asks
	 * again.
	 */
	if (pv_read(v, TOKEN_GPA(v), &token, sizeof(token)) || token)
		return;
	token = take_token(a, &gpa);
	if (!token || pv_write(v, TOKEN_GPA(v), &token, sizeof(token)))
		return;
	trace_kvm_async_pf_ready(token, gpa);
	a->unacked = true;
	lapic_accept(&v->apic->lapic, &(struct irq_msg){ .vector = a->vector, .mode = IRQ_MODE_FIXED });
}

/* ---- MSRs ---- */

int apf_get_msr(struct vcpu *v, u32 msr, u64 *val, bool host)
{
	const struct vcpu_apf *a = &v->pv.apf;

	*val = msr == MSR_KVM_ASYNC_PF_EN ? a->en : msr == MSR_KVM_ASYNC_PF_INT ? a->vector : 0;
	return 0;
}

static bool enable_valid(struct vcpu *v, u64 val, bool host)
{
	u64 never = GENMASK(5, 4) | KVM_ASYNC_PF_DELIVERY_AS_PF_VMEXIT;

	if ((val & never) || (val && !v->apic))
		return false;
	return host || !(val & KVM_ASYNC_PF_DELIVERY_AS_INT) || pv_has(v, KVM_FEATURE_ASYNC_PF_INT);
}

static int set_enable(struct vcpu *v, u64 val, bool host)
{
	const u64 on = KVM_ASYNC_PF_ENABLED | KVM_ASYNC_PF_DELIVERY_AS_INT;
	struct vcpu_apf *a = &v->pv.apf;

	if (!enable_valid(v, val, host))
		return 1;
	a->en = val;
	a->on = (val & on) == on;
	if (!a->on || host) {
		forget(a);
		a->unacked = false;
		a->wake_all = false;
	}
	if (a->on && host) {
		a->wake_all = true;
		virt_request(&v->virt, REQ_APF);
	}
	return 0;
}

int apf_set_msr(struct vcpu *v, u32 msr, u64 val, bool host)
{
	struct vcpu_apf *a = &v->pv.apf;

	switch (msr) {
	case MSR_KVM_ASYNC_PF_EN:
		return set_enable(v, val, host);
	case MSR_KVM_ASYNC_PF_INT:
		if (val > 255)
			return 1;
		a->vector = val;
		return 0;
	default:
		if (val > 1)
			return 1;
		if (val) {
			a->unacked = false;
			virt_request(&v->virt, REQ_APF);
		}
		return 0;
	}
}

/* ---- lifetime ---- */

void apf_vcpu_init(struct vcpu *v)
{
	spin_lock_init(&v->pv.apf.lock);
	INIT_LIST_HEAD(&v->pv.apf.come);
}

void apf_reset(struct vcpu *v)
{
	struct vcpu_apf *a = &v->pv.apf;

	forget(a);
	a->en = a->vector = 0;
	a->on = a->unacked = a->wake_all = false;
}

void apf_vcpu_destroy(struct vcpu *v)
{
	/* Nothing is on its way any more: it would hold the VM. */
	forget(&v->pv.apf);
}

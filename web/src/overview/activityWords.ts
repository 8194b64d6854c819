import {
  BadgeCheck,
  CalendarCheck,
  CircleAlert,
  CircleCheck,
  CircleHelp,
  CirclePause,
  CirclePlay,
  CircleSlash,
  ClipboardList,
  Eye,
  LogOut,
  Mail,
  MailX,
  MousePointerClick,
  Reply,
  Sparkles,
  Tag,
  Timer,
  Trophy,
  UserRoundPlus,
  Workflow,
  type LucideIcon,
} from 'lucide-react';

import type { Activity } from '@/api/client';
import { words } from '@/format/format';

export type ActivityTone =
  'sent' | 'opened' | 'clicked' | 'replied' | 'bounced' | 'unsubscribed' | 'enrolled' | 'ink-3';

export interface ActivityWords {
  icon: LucideIcon;
  tone: ActivityTone;
  /** What follows the lead's name. */
  does: string;
  /** The step or thing it was done to. */
  what: string | null;
}

function text(activity: Activity, key: string): string | null {
  const value = activity.detail[key];
  return typeof value === 'string' && value !== '' ? value : null;
}

const SIGNALS: Readonly<Record<string, readonly [LucideIcon, ActivityTone, string]>> = {
  delivered: [CircleCheck, 'sent', 'received'],
  opened: [Eye, 'opened', 'opened'],
  clicked: [MousePointerClick, 'clicked', 'clicked in'],
  replied: [Reply, 'replied', 'replied to'],
  bounced: [MailX, 'bounced', 'bounced on'],
  complained: [CircleAlert, 'bounced', 'complained about'],
  unsubscribed: [CircleSlash, 'unsubscribed', 'unsubscribed from'],
};

type Teller = (activity: Activity, step: string | null, sequence: string | null) => ActivityWords;

const told = (
  icon: LucideIcon,
  tone: ActivityTone,
  does: string,
  of: 'step' | 'sequence' | 'none' = 'none',
): Teller => {
  return (_, step, sequence) => ({
    icon,
    tone,
    does,
    what: of === 'step' ? step : of === 'sequence' ? sequence : null,
  });
};

const TELLERS: Readonly<Record<string, Teller>> = {
  'enrollment.started': told(Sparkles, 'enrolled', 'entered', 'sequence'),
  'enrollment.activated': told(CirclePlay, 'enrolled', 'began', 'sequence'),
  'enrollment.step_due': told(Timer, 'ink-3', 'is due for', 'step'),
  'enrollment.step_sent': told(Mail, 'sent', 'was sent', 'step'),
  'enrollment.step_postponed': told(Timer, 'ink-3', 'waits for', 'step'),
  'enrollment.step_deferred': told(Timer, 'ink-3', 'is retried with', 'step'),
  'enrollment.step_failed': (activity, step) => ({
    icon: CircleAlert,
    tone: 'bounced',
    does: activity.detail.bounce === true ? 'bounced on' : 'could not be sent',
    what: step,
  }),
  'enrollment.step_stop_requested': told(CircleSlash, 'ink-3', 'asked to stop before', 'step'),
  'enrollment.step_stopped': told(CircleSlash, 'ink-3', 'was stopped before', 'step'),
  'enrollment.step_in_doubt': told(CircleHelp, 'unsubscribed', 'may have been sent', 'step'),
  'enrollment.step_settled': (activity, step) => ({
    icon: CircleCheck,
    tone: 'ink-3',
    does: text(activity, 'outcome') === 'sent' ? 'was sent after all:' : 'was not sent after all:',
    what: step,
  }),
  'enrollment.step_skipped': told(CircleSlash, 'ink-3', 'skipped', 'step'),
  'enrollment.step_taken': told(CircleCheck, 'ink-3', 'passed', 'step'),
  'enrollment.step_handed_to_person': told(ClipboardList, 'enrolled', 'needs a person for', 'step'),
  'enrollment.step_done_by_person': told(ClipboardList, 'enrolled', 'was handled:', 'step'),
  'enrollment.engagement_noted': (activity, step) => {
    const [icon, tone, does] = SIGNALS[text(activity, 'signal') ?? ''] ?? [Eye, 'ink-3', 'reacted to'];
    return { icon, tone, does, what: step };
  },
  'enrollment.paused': told(CirclePause, 'unsubscribed', 'was paused in', 'sequence'),
  'enrollment.resumed': told(CirclePlay, 'enrolled', 'was resumed in', 'sequence'),
  'enrollment.completed': told(BadgeCheck, 'opened', 'completed', 'sequence'),
  'enrollment.exited': (activity, _, sequence) => {
    const reason = text(activity, 'reason');
    return {
      icon: LogOut,
      tone: 'ink-3',
      does: 'left',
      what: [sequence, reason && words(reason).toLowerCase()].filter(Boolean).join(' · ') || null,
    };
  },
  'lead.captured': (activity) => ({
    icon: UserRoundPlus,
    tone: 'enrolled',
    does: 'came in',
    what: text(activity, 'source') ?? text(activity, 'funnel_id'),
  }),
  'lead.matched': told(Workflow, 'ink-3', 'was matched to', 'sequence'),
  'lead.not_matched': told(CircleSlash, 'ink-3', 'matched no sequence'),
  'lead.scored': (activity) => ({
    icon: Sparkles,
    tone: 'ink-3',
    does: 'has a new score',
    what: typeof activity.detail.after === 'number' ? String(activity.detail.after) : null,
  }),
  'lead.tagged': told(Tag, 'ink-3', 'was tagged'),
  'lead.replied': (activity) => ({
    icon: Reply,
    tone: 'replied',
    does: 'wrote back',
    what: text(activity, 'subject'),
  }),
  'lead.unsubscribed': told(CircleSlash, 'unsubscribed', 'unsubscribed'),
  'lead.resubscribed': told(CircleCheck, 'enrolled', 'subscribed again'),
  'lead.address_suppressed': told(MailX, 'bounced', 'will not be written to any more'),
  'lead.booked_meeting': told(CalendarCheck, 'replied', 'booked a meeting'),
  'lead.won': told(Trophy, 'replied', 'converted'),
  'task.opened': (activity) => ({
    icon: ClipboardList,
    tone: 'enrolled',
    does: 'has a task',
    what: text(activity, 'title'),
  }),
  'task.completed': told(ClipboardList, 'ink-3', 'has a task done'),
};

/** A step that no known version has is known by its id. */
function nameOfStep({ step_id: id, step_name: name }: Activity): string | null {
  if (name && name !== id) return name;
  return id ? words(id) : null;
}

/** Says in words what an activity is. A kind this page does not know is named by its last word. */
export function tell(activity: Activity): ActivityWords {
  const kind = activity.kind.replace(/\.v\d+$/, '');
  const step = nameOfStep(activity);
  const teller = TELLERS[kind];
  if (teller) return teller(activity, step, activity.sequence_name ?? null);
  return {
    icon: CircleCheck,
    tone: 'ink-3',
    does: words(kind.split('.').at(-1) ?? kind).toLowerCase(),
    what: step,
  };
}

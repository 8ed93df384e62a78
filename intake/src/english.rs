//! English: the words that carry no demand.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Words of requests that say nothing that could be checked: function words, the words that people
/// wrap a demand in, and the story around it. They are neither reported nor taken for packages.
const PLAIN_WORDS: &str = "
a about above accept acceptable access accordingly account across act actual actually add additional additionally advance
affordable after afterwards again against ago ahead ain't all allocate allocated allocation allow allowed almost alone along
already also alternatively although always am among amount an analyse analysis and another answer any anybody anyhow anyone
anything anyway anywhere apart app appear applicable application applications apply appreciate appreciated appreciation
approach appropriate approximately are aren't area around arrange article as aside ask asked asking asks assign assist
assume at at-least atm attempt automatically availability available away awesome back bad barely base based basic basically
batch be bear became because become been before began begin begins behind being believe belong below benchmark benchmarking
benchmarks beneath beside besides best better between beyond big bigger biggest bit boss both boxes bring brings brilliant
build building builds bunch but buy by bye calc calculate calculation calculations call called calls came campaign can can't
cannot capability capable capacity care carry case cases cause certain chance change charge cheers check choice choose
chosen class client close cluster clusters code codes colleague collaborator come comes comfortable coming compare
comparison compatible compile complete completed completely completes completing completion compute computation
computational computations computer computers computing concern concerned condition conditions conference configuration
configured confirm connect connected connection connections connectivity consider considering constraint constraints consumption
contact contain containing contains continue convenience convenient correct correctly cost costing costs could couldn't
couple course cover cpu create current currently customer cut daily dash data dataset datasets date day days deal dear
decent decide default definitely deliver delivered delivery demand demands depend depending deploy deployed deploying
describe desire desired detail details develop developed developing development did didn't differ different difficult
directly discuss do doable doc does doesn't doing don't done doubt down during each earlier early easily easy edition
effective effectively effort efficient efficiently either else employ enable enabled end ended ending ends engine engineer
engineering enjoy enough ensure entire environment environments equal equally especially essential essentially estimate
etc evaluate evaluating evaluation even event ever every everybody everyone everything everywhere exact exactly example
excellent except exec execute executed executes executing execution exist existing expect expected expects experiment
experiments explain extra extremely facility fact fair fairly fall fancy far favour feature feel few field figure figures
file files final finally find finding fine finish finished finishes finishing first fit fits fix fleet folks follow followed
following for force forever form found framework free friday friend from front full fully function further future game gave
general generally generate get gets getting give given gives giving glad go goal goes going gone good got grab grad grant
grateful great group guess guy guys had half handle hand hands happen happens happy hard hardly hardware has hasn't have
haven't having he head heads hear heavily heavy hello help helpful helping helps hence her here hey hi high higher him his
hit hold holding home honestly hope hopefully host hosted hosting hosts how however hundred i i'd i'll i'm i've idea ideal
ideally if immediate implementation important improve in include included includes including indeed individual info
information initial input inputs inside install installation installed instance instances instead institute intend intended
intensive interactive interest interested interface internal into involve involved is isn't issue it it'd it'll it's item
its itself job jobs join journal just keen keep kept kick kicking kind kindly know known lab large larger largest last
lasting late later latter launch launched launches launching lead least leave left less let let's level like likely limit
limited limits line lines list little live load loaded loading local locate located location long longer look looking looks
loop lot lots love low lower lowest lunch machine machines made mail main mainly major make makes making manage manageable
managed manager many matter matters max maximum may maybe me mean means measure meet meeting member mention message method
might min mind mine minimum miss model modelling models moderate modern moment monday money month monthly more most mostly
move much multi multiple must my myself name named near nearly necessarily necessary need needed needing needs neither
never new newer next nice night no nobody none nor normal normally not note nothing notice now number numbers numerous
object obviously of off offer offered offering offers office often ok okay old older on once one ones only onto open
operate operation optimise option optional optionally options or order organisation other others otherwise ought our ours
out output outputs over overall own pack package packages paper papers parallel parallelised part partially particular
particularly parts pass past people per perfect perfectly perform performance performant performing perhaps period person
phase phd phone pick piece pipeline pipelines place placed places plan planning plans platform please plenty plus point
poster possible possibly post postdoc potential practical practically pre prefer preferable preferably preference preferred prepare
prepared presence present presentation pretty previous price prices prior priority prioritise probably problem problems
process processed processing produce production professor profile program programme programs project projects proper properly
property propose proposal provide provided provides providing public publication publish purpose purposes put puts quality
quantity question queue queued queues queueing queuing quick quicker quickly quiet quite range rather reach read reading
ready real really reason reasonable reasonably receive recent recently recommend reduce ref regard regarding regardless
regards regular related release relevant reliable reliably remain remember render rendering repeat replace report request
requested requesting requests require required requirement requirements requires requiring research reserve resource
resources respond response rest result results resume return reviewer reviewers revision right rough roughly round rule run
running runs runtime safe safely said same saturday save say saying says scale scenario schedule scheduled scheduler
scheduling school science scientific script scripts search second section secure see seem seems seen select send sense sent
separate series serious serve server servers service services session set sets setting settings setup several shall she
ship short shorter should shouldn't show shows side similar simple simply simulate simulates simulating simulation
simulations since single sir site sites situation six size sized slot slots slow small smaller so software solution solve
solved solver some somebody somehow someone something sometime sometimes somewhat somewhere soon sooner sort sorted sorts
sound sounds source space speak special specific specifically specification specified specify spec specs spend spin
sporadic stack staff stage stand standard start started starting starts starts state stay step steps still stop
story straight strict strictly strong student study studies stuff style subject submission submit submitted submitting
submits such sufficient sufficiently suggest suit suitable suite suited suits sunday super supervisor supply support
supported supporting supports supposed sure system systems table take taken takes taking talk target task team tell ten term
terms test tested testing tests text than thank thanks that that'd that'll that's the their them then theory there there's
therefore these thesis they they'd they'll they're thing things think third this those though thought through throughout
thursday thus till time timely times tiny to today together told tomorrow tonight too took tool tools top total totally
toward towards train trained training trial tried tries true trust try trying tuesday turn twice two type types typical
typically ultimately unable under underneath understand unfortunately university unless unlike until unused up upcoming
upon us usable use used useful user uses using usual usually valid value variety various version versions very via want
wanted wanting wants was wasn't watch way ways we we'd we'll we're we've wednesday week weekend weekly weeks weigh welcome
well went were weren't what what's whatever when whenever where whereas wherever whether which while who whole whom whose
why wide will willing wise wish with within without won't wonder wondering word work worked worker workers workflow
workflows working workload workloads works workstation world worry worse worst worth would wouldn't write writing written
wrong year years yes yesterday yet yield you you'd you'll you're you've your yours yourself
afternoon morning evening noon midnight deadline due budget spare bunch plus capacity afterward
calculate calc compute cruncher crunching crunch heavy hefty beefy decent dedicated exclusive exclusively idle spare
inference fine-tune fine-tuning finetune finetuning pretraining pretrain pre-training dev prod staging
accept accurate bare bulk cheap cheaper cheapest cheaply fast faster fastest soonest earliest economical economically
backend backends filesystem filesystems interconnect network networking fabric
job's today's it'd let's that'd who's here's there'd we'd i'd shan't needn't mustn't hasn't
also e.g i.e eg ie etc vs aka btw fyi asap eod re ps tbh imo imho ish ok'd
latency bandwidth throughput reliable reliability urgency urgent urgently unit units
grid sweep replica replicas ensemble iteration iterations epoch epochs batch minibatch production-run
molecular dynamics quantum chemistry fluid climate weather genome genomics protein proteins materials physics biology
astronomy finance trading strategy strategies crossover market markets stock stocks portfolio
neural deep learning machine-learning ml ai hpc llm vision language image images video audio
protein-folding cfd md dft ab-initio monte carlo particle particles mesh lattice solver turbulence galaxy
large-scale small-scale long-running short-running high-performance low-latency high-throughput multi-node single-node
distributed shared memory-intensive compute-intensive compute-heavy embarrassingly
first-come demo hackathon class course homework assignment lecture workshop tutorial prototype proof concept
latest newest module modules llama bert gpt resnet gpt-2 vit diffusion spacy's
command commands eta score scores verdict secretary hereby administrator c c++ sbatch srun salloc visit click rich protection gimme lemme yo thx fortran nodes node cores core machines critical kinda sorta advisor adviser advisors pi collaborators lab's labmate folding fold grant-funded exceed exceeds exceeding
beefy hefty monster strong solid weekend's stick sticking thinking thought guess figure curious interested heads-up quickest yesterday's
allowance afford affordability wallet cents charged billing paid paying pays invoice expense expensive pricey
ideal idealy optimal optimum sweet ish alright sounds lovely brilliant awesome amazing cool neat super wonderful magic
nothing-fancy fancy plain vanilla standard usual regular ordinary typical basic normal default
overview purpose reasoning background context note notes ps btw additionally furthermore moreover finally lastly firstly secondly
tune tuning sweep sweeps hyperparameter hyperparameters search grid-search screening scan scanning render rendering encode encoding
preprocess preprocessing postprocess postprocessing post-processing pre-processing align alignment assemble assembly sequencing
converge convergence equilibrate equilibration relaxation optimisation minimisation sampling trajectory trajectories docking
drug discovery membrane ligand polymer crystal defect alloy battery catalyst surface fluid aerodynamics combustion wind ocean atmosphere seismic
reactor plasma fusion neutron neutrino black-hole cosmology lensing survey telescope
crash-test finite-element mesh meshes meshing geometry domain grid grids cells atoms particles molecules timesteps time-step
embedding embeddings chatbot prompts tokenizer corpus captions segmentation detection recommender ranking forecasting forecast
etl ingest ingestion analytics dashboards report reports spreadsheet
hopefuly appreciated thank-you merci danke gracias cordially sincerely greetings
everyday bro dude mate folks hiya howdy ciao greetings regards sincerely hmm um uh er oh ah haha lol yep yeah nope nah ta
";

static PLAIN: LazyLock<HashSet<&str>> = LazyLock::new(|| PLAIN_WORDS.split_whitespace().collect());

/// Whether a lower-case word is plain English that carries no demand by itself.
#[must_use]
pub fn is_plain(word: &str) -> bool {
    if PLAIN.contains(word) {
        return true;
    }
    // Possessives, and compounds whose parts are all plain ("well-tested").
    if let Some(stem) = word.strip_suffix("'s").or_else(|| word.strip_suffix('\'')) {
        return PLAIN.contains(stem);
    }
    word.contains('-') && word.split('-').all(|part| PLAIN.contains(part))
}
